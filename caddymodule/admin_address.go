package caddymodule

import (
	"net/netip"
	"reflect"

	"github.com/caddyserver/caddy/v2"
)

// adminAddresses returns where Caddy's admin API listens under the
// configuration being provisioned: no action may call it, because the sender of
// an event must not reach it. Addresses that only a name server knows
// are taken as all of the machine's own with that port.
func adminAddresses(ctx caddy.Context) []netip.AddrPort {
	listen := adminListen(ctx)
	if listen == "" {
		return nil
	}
	address, err := caddy.ParseNetworkAddress(caddy.NewReplacer().ReplaceAll(listen, ""))
	if err != nil || address.IsUnixNetwork() || address.IsFdNetwork() {
		return nil
	}
	port := uint16(address.StartPort)
	if address.Host == "localhost" {
		return []netip.AddrPort{
			netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port),
			netip.AddrPortFrom(netip.IPv6Loopback(), port),
		}
	}
	host, err := netip.ParseAddr(address.Host)
	if err != nil {
		host = netip.IPv4Unspecified()
	}
	return []netip.AddrPort{netip.AddrPortFrom(host, port)}
}

// configOf returns the whole configuration that is being provisioned, a
// caddy.Config. Caddy does not tell modules, so it is read from the context by
// reflection; tests fail if Caddy's fields change. Not valid without one.
func configOf(ctx caddy.Context) reflect.Value {
	config := reflect.ValueOf(ctx).FieldByName("cfg")
	if !config.IsValid() || config.IsNil() {
		return reflect.Value{}
	}
	return config.Elem()
}

// adminListen returns the configured listen address of the admin API, "" when
// it is off.
func adminListen(ctx caddy.Context) string {
	config := configOf(ctx)
	if !config.IsValid() {
		return caddy.DefaultAdminListen
	}
	admin := config.FieldByName("Admin")
	if !admin.IsValid() || admin.IsNil() {
		return caddy.DefaultAdminListen
	}
	if admin.Elem().FieldByName("Disabled").Bool() {
		return ""
	}
	if listen := admin.Elem().FieldByName("Listen").String(); listen != "" {
		return listen
	}
	return caddy.DefaultAdminListen
}
