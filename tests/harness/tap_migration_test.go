package harness

import (
	"slices"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
)

// tapNetwork is a plain TAP with addresses: upstream's tap or ours, by the type alone. (With IPv6 upstream's waits five
// seconds for a duplicate address detection that cannot begin without a guest.)
func tapNetwork(t *testing.T, kind, pool string, keys object) *network {
	t.Helper()
	first := object{"type": kind, "ipam": object{"type": pool,
		"subnet": "192.0.2.0/24", "routes": []any{object{"dst": "203.0.113.0/24"}}}}
	for key, value := range keys {
		first[key] = value
	}
	return load(t, object{"cniVersion": "1.1.0", "name": "taps", "plugins": []any{first}})
}

// TAPs are there, and the conflist says the other plugin from now on; each verb goes on with what that one made.
func TestTakeOverFromUpstreamTap(t *testing.T) {
	for _, keys := range []object{{}, {"owner": 1000, "group": 2000, "multiQueue": true, "mtu": 1400},
		{"group": 2000, "mac": "02:00:5e:00:53:07"}} {
		for _, way := range [][4]string{{"tap", "host-local", "slicer-tap", "slicer-ipam"},
			{"slicer-tap", "slicer-ipam", "tap", "host-local"}} {
			t.Run(way[0]+" to "+way[2], func(t *testing.T) {
				onOwnHost(t, func() {
					needUpstream(t, []any{object{"type": "tap"}})
					old, now := tapNetwork(t, way[0], way[1], keys), tapNetwork(t, way[2], way[3], keys)
					var rts []*runtimeConf
					for _, id := range []string{"a", "b", "c"} {
						rt := at(id, newNetns(t, id), "tap0")
						rts = append(rts, rt)
						old.add(rt)
					}
					for _, rt := range rts {
						check(t, now.tryCheck(rt))
					}
					a, b, c := rts[0], rts[1], rts[2]
					for range 2 {
						now.del(a)
						eventually(t, "the TAP is gone", func() bool { return len(links(t, a.NetNS)) == 0 })
					}
					now.add(a)
					check(t, now.tryCheck(a))
					old.del(a)
					now.gc(types.GCAttachment{ContainerID: b.ContainerID, IfName: b.IfName})
					eventually(t, "GC took c", func() bool { return len(links(t, c.NetNS)) == 0 })
					mustEqual(t, "b's TAP", links(t, b.NetNS), []string{"tap0"})
					now.del(b)
					eventually(t, "nothing is left", func() bool {
						return !slices.ContainsFunc(rts, func(rt *runtimeConf) bool { return len(links(t, rt.NetNS)) != 0 })
					})
					mustEqual(t, "leases", leases(t, defaultDataDir, "taps"), []string{})
				})
			})
		}
	}
}
