//go:build race

package relay

// With the race detector, pools forget a part of what they are given.
func init() { allocationBudgetFactor = 2 }
