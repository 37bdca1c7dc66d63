package postman

// The ways in which an imported action may differ from what Postman sends.
const (
	noSuchMethod  = "a method that actions do not have: left out"
	fileBody      = "a body or part from a file on somebody's computer: left out"
	computedAuth  = "an authentication that is computed for each request: sent without, flagged"
	rawURLOnly    = "a URL that is given as text beside empty parts: Postman sends nothing, the relay sends what is meant"
	refusedHeader = "a header that makes Postman give up: the relay sends the rest without it, or the UTF-8 of it, flagged"
	latin1Header  = "a header beyond ASCII: Postman sends Latin-1 without a body and UTF-8 with one, the relay UTF-8"
	javaScript    = "an artefact of JavaScript: [object Object], lists joined by commas, numeric keys first, equal keys regrouped"
	escapedJSON   = "values in JSON bodies are escaped, so that the body stays JSON"
	alwaysTyped   = "a body is always sent with its Content-Type"
	namelessField = "a form field without a name: left out"
	escapedName   = "the name of a form field is escaped, as browsers do"
	keyAsItReads  = "an API key in the query is encoded so that it arrives as it reads"
	noPathValue   = "a path variable without a text as its value: Postman sends its name, the relay a parameter that the administrator fills in, flagged"
	emptyValue    = "a variable or credential that is empty in the file, where a value is needed: the relay sends nothing useful until the administrator gives one, flagged"
	onlyBlanks    = "a JSON body of blanks: left out"
	noSuchValue   = "a variable without a value: Postman sends its tag, the relay nothing until the administrator gives a value"
	alwaysEncoded = "disableUrlEncoding: Postman gives up, the relay encodes"
	emptyPort     = "an empty port after a colon: left out of the Host header"
)

// differences lists by case and number of the request how it differs.
var differences = map[string]map[int]string{
	"pbx": {7: escapedJSON},
	"quirks": {
		1: rawURLOnly, 5: javaScript, 57: noSuchMethod, 59: noSuchMethod, 60: refusedHeader, 62: refusedHeader, 63: latin1Header,
		64: refusedHeader, 65: refusedHeader, 66: refusedHeader, 67: refusedHeader, 88: escapedJSON, 95: noSuchMethod, 97: alwaysTyped,
		102: namelessField, 103: javaScript, 111: escapedName, 112: fileBody, 117: fileBody, 118: fileBody, 134: keyAsItReads, 137: keyAsItReads,
		148: computedAuth, 150: computedAuth, 151: computedAuth, 152: computedAuth, 37: noPathValue, 38: noPathValue, 39: noPathValue, 40: noPathValue, 41: noPathValue,
		46: noPathValue, 50: noPathValue, 51: noPathValue, 52: noPathValue, 90: noSuchValue, 165: noSuchValue, 166: alwaysEncoded,
	},
	"nested": {21: noSuchValue, 22: noSuchValue, 23: noSuchValue, 25: escapedJSON},
	"silent": {
		1: emptyValue, 2: emptyValue, 3: emptyValue, 4: emptyValue, 5: emptyValue, 6: emptyValue, 7: emptyValue, 13: onlyBlanks, 15: emptyValue, 16: emptyValue,
		17: emptyPort, 18: emptyPort, 19: onlyBlanks, 22: onlyBlanks, 23: onlyBlanks, 29: javaScript, 31: javaScript, 40: emptyValue,
	},
	"urls":      {19: emptyPort},
	"variables": {3: noSuchValue},
}
