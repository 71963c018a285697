package harness

import (
	"testing"

	"github.com/containernetworking/cni/pkg/types"
)

// The ready networks on a LAN, under libcni, with all verbs: the host has an interface there and a default route.
func TestShippedNetworksOnTheLAN(t *testing.T) {
	for _, place := range []struct{ name, file, address string }{
		{"by DHCP", "53-slicer-macvtap.conflist", ""},
		{"static", "54-slicer-macvtap-static.conflist", "192.168.1.220/24"},
	} {
		t.Run(place.name, func(t *testing.T) {
			onOwnHost(t, func() {
				must(t, "ip", "link", "add", "lan0", "type", "veth", "peer", "name", "lan0-end")
				must(t, "ip", "link", "set", "lan0-end", "up")
				must(t, "ip", "link", "set", "lan0", "up")
				must(t, "ip", "addr", "add", "192.168.1.9/24", "dev", "lan0")
				must(t, "ip", "route", "add", "default", "via", "192.168.1.1")
				list := shipped(t, place.file)
				delete(list, "disableGC")
				n := load(t, list)
				check(t, n.status())
				before := links(t, hostNetns)
				netns := newNetns(t, "a")
				rt := at("a", netns, "tap0")
				result := n.add(rt)
				mustEqual(t, "entries of the interface", len(result.Interfaces), 2)
				tap, guest := result.Interfaces[0], result.Interfaces[1]
				mustEqual(t, "names", []string{tap.Name, guest.Name}, []string{"tap0", "tap0"})
				mustEqual(t, "sandboxes", []string{tap.Sandbox, guest.Sandbox}, []string{netns, "a"})
				mustEqual(t, "the macvtap's MAC", tap.Mac, guest.Mac)
				if place.address == "" {
					mustEqual(t, "addresses", len(result.IPs), 0)
				} else {
					mustEqual(t, "address", result.IPs[0].Address.String(), place.address)
				}
				check(t, n.tryCheck(rt))
				n.gc(types.GCAttachment{ContainerID: "a", IfName: "tap0"})
				check(t, n.tryCheck(rt))
				mustEqual(t, "links of the host", links(t, hostNetns), before)

				n.del(rt)
				n.del(rt)
				mustEqual(t, "links of the namespace", len(links(t, netns)), 0)
				mustEqual(t, "leases", len(leases(t, defaultDataDir, list["name"].(string))), 0)
			})
		})
	}
}
