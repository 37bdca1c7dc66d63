package layout

import "time"

// Micros returns a time as it is stored: in microseconds since 1970, which databases
// order and compare as numbers.
func Micros(t time.Time) int64 { return t.UnixMicro() }

// MicrosUp is Micros but rounds up, so that what is due then is never early.
func MicrosUp(t time.Time) int64 { return t.Add(time.Microsecond - 1).UnixMicro() }

// Behind is added to the time at which a delivery can be taken while it waits for
// another of its order key. As a time it lies 146,000 years ahead.
const Behind = int64(1) << 62

// DueAt returns a due time as it is stored: neither 0, which is no time, nor one that
// says that a delivery is behind another. It is rounded up, so that nothing is handed out
// early.
func DueAt(t time.Time) int64 { return min(max(MicrosUp(t), 1), Behind-1) }

// FromMicros returns the time that is stored as n.
func FromMicros(n int64) time.Time { return time.UnixMicro(n).UTC() }

// Minute is a minute in microseconds.
const Minute = int64(60_000_000)

// Mod returns n modulo m, which is never negative.
func Mod(n, m int64) int64 { return (n%m + m) % m }
