package relay

// PruneOnce lets tests remove old activity without waiting for the minute.
var PruneOnce = (*Runtime).pruneOnce
