package history

// TenantWindow is how many events are gone through for one of a tenant at a time.
const TenantWindow = tenantWindow
