package harness

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
)

// suite is one of the two sets of plugins under the same network: bridge, IPAM, firewall.
type suite struct{ bridge, ipam, firewall string }

var (
	upstreams = suite{"bridge", "host-local", "firewall"}
	slicers   = suite{"slicer-bridge", "slicer-ipam", "slicer-firewall"}
)

// container network that exists on a host already; the types alone change.
func (s suite) network(t *testing.T) *network {
	t.Helper()
	list := s.list("plain", v4, v6)
	install(t, list)
	return load(t, list)
}

// list is a conflist.
func (s suite) list(name, v4, v6 string) object {
	list := object{"cniVersion": "1.1.0", "name": name, "plugins": []any{
		object{"type": s.bridge, "bridge": name + "0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
			"ipam": object{"type": s.ipam, "ranges": []any{[]any{object{"subnet": v4}},
				[]any{object{"subnet": v6}}},
				"routes": []any{object{"dst": "0.0.0.0/0"}, object{"dst": "::/0"}}}},
		object{"type": s.firewall}}}
	if s.bridge == slicers.bridge {
		plugin(list, 0)["device"] = "veth"
	}
	return list
}

func mustReach(t *testing.T, from string, addresses ...string) {
	t.Helper()
	for _, address := range addresses {
		eventually(t, from+" reaches "+address, func() bool { // IPv6: after duplicate address detection
			return exec.Command("ip", "netns", "exec", from, "ping", "-c", "1", "-W", "1", address).Run() == nil
		})
	}
}

// mustBeGone: nothing of the attachment is left.
func mustBeGone(t *testing.T, rt *runtimeConf, before []string) {
	t.Helper()
	eventually(t, "the links of "+rt.ContainerID+" are gone", func() bool {
		return len(links(t, rt.NetNS)) == 0 && len(links(t, hostNetns)) == len(before)
	})
}

// A host with containers changes the types in its conflist, and goes on with what the other suite made: from upstream's
// to ours, and from ours to upstream's.
func TestMigrationInPlace(t *testing.T) {
	for _, way := range [][2]suite{{upstreams, slicers}, {slicers, upstreams}} {
		t.Run(way[0].bridge+" to "+way[1].bridge, func(t *testing.T) {
			onOwnHost(t, func() {
				old := way[0].network(t)
				var rts []*runtimeConf
				for i, id := range []string{"a", "b", "c", "d", "e"} {
					rts = append(rts, at(id, newNetns(t, id), "eth0"))
					if i < 3 {
						old.add(rts[i])
					}
				}
				a, b, c, d, e := rts[0], rts[1], rts[2], rts[3], rts[4]
				mustReach(t, "a", "192.0.2.1", "192.0.2.3", "2001:db8:1::3")

				now := way[1].network(t)
				check(t, now.status())
				if way[1] == slicers {
					runner(t, "network", "reload", "plain") // slicer-firewall's rules are there from now on
				}
				mustReach(t, "a", "192.0.2.1", "192.0.2.3", "2001:db8:1::3")

				added := now.add(d)
				mustEqual(t, "the next address", []string{added.IPs[0].Address.String(), added.IPs[1].Address.String()},
					[]string{"192.0.2.5/24", "2001:db8:1::5/64"})
				mustReach(t, "d", "192.0.2.2", "2001:db8:1::2")
				mustReach(t, "a", "192.0.2.5", "2001:db8:1::5")
				if _, err := now.tryAdd(d); err == nil {
					t.Fatal("a second ADD of one attachment")
				}
				for _, rt := range []*runtimeConf{a, b, c, d} {
					way[1].mustCheck(now, rt, rt == d)
				}

				before := links(t, hostNetns)
				now.del(a)
				mustBeGone(t, a, before[:len(before)-1])
				mustEqual(t, "leases after DEL", held(t), "192.0.2.3 192.0.2.4 192.0.2.5")
				now.gc(types.GCAttachment{ContainerID: "b", IfName: "eth0"}, types.GCAttachment{ContainerID: "d", IfName: "eth0"})
				mustBeGone(t, c, before[:len(before)-2])
				mustEqual(t, "leases after GC", held(t), "192.0.2.3 192.0.2.5")
				mustReach(t, "b", "192.0.2.1", "192.0.2.5")

				// And back, with what both have made.
				old = way[0].network(t)
				mustEqual(t, "another address", old.add(e).IPs[0].Address.String(), "192.0.2.6/24")
				if way[0] == slicers {
					runner(t, "network", "reload", "plain")
				}
				for _, rt := range []*runtimeConf{b, d, e} {
					way[0].mustCheck(old, rt, rt != d)
				}
				for _, rt := range []*runtimeConf{b, d, e} {
					old.del(rt)
				}
				mustBeGone(t, d, []string{"plain0"})
				mustEqual(t, "leases in the end", held(t), "")
			})
		})
	}
}

// mustCheck: upstream's firewall has rules for each container, so its CHECK fails for those that it did not see added.
func (s suite) mustCheck(n *network, rt *runtimeConf, own bool) {
	n.t.Helper()
	err := n.tryCheck(rt)
	if s == upstreams && !own {
		if err == nil || !strings.Contains(err.Error(), "expected rule") {
			n.t.Errorf("CHECK of %s by upstream's plugins: %v", rt.ContainerID, err)
		}
	} else if err != nil {
		n.t.Errorf("CHECK of %s: %v", rt.ContainerID, err)
	}
}

// held lists the IPv4 allocations.
func held(t *testing.T) string {
	t.Helper()
	var v4 []string
	for _, name := range leases(t, defaultDataDir, "plain") {
		if strings.Contains(name, ".") {
			v4 = append(v4, name)
		}
	}
	slices.Sort(v4)
	return strings.Join(v4, " ")
}

// A link that only looks like the one in prevResult is somebody else's: DEL gives the address back and leaves it.
func TestTakeOverLeavesStrangersAlone(t *testing.T) {
	onOwnHost(t, func() {
		rt := at("a", newNetns(t, "a"), "eth0")
		upstreams.network(t).add(rt)
		must(t, "ip", "-n", "a", "link", "del", "eth0")
		must(t, "ip", "link", "add", "stranger", "type", "veth", "peer", "name", "eth0", "netns", "a")
		must(t, "ip", "link", "set", "stranger", "master", "plain0", "up")
		n := slicers.network(t)
		if n.tryCheck(rt) == nil {
			t.Fatal("CHECK takes a stranger's link for the attachment's")
		}
		n.del(rt)
		mustEqual(t, "leases", held(t), "")
		mustEqual(t, "the stranger's link", links(t, rt.NetNS), []string{"eth0"})
	})
}

// Upstream's DEL of what slicer-bridge made removes the link. What else there was of it would lead the next container
// with the address astray; `slicer-run gc` takes it away.
func TestWayBackLeavesNothing(t *testing.T) {
	onOwnHost(t, func() {
		list := func(s suite) *network {
			list := s.list("plain", v4, v6)
			plugin(list, 0)["macspoofchk"] = true
			plugin(list, 0)["capabilities"] = object{"bandwidth": true, "ips": true}
			install(t, list)
			return load(t, list)
		}
		a, b := at("a", newNetns(t, "a"), "eth0"), at("b", newNetns(t, "b"), "eth0")
		keep := at("keep", newNetns(t, "keep"), "eth0")
		limit := object{"ingressRate": 8000000, "ingressBurst": 800000, "egressRate": 8000000, "egressBurst": 800000}
		for _, rt := range []*runtimeConf{a, keep} {
			rt.CapabilityArgs = object{"bandwidth": limit}
			list(slicers).add(rt)
		}
		before := links(t, hostNetns)
		list(upstreams).del(a)
		mustContain(t, must(t, "ip", "neigh"), "192.0.2.2 dev plain0")
		removed := runner(t, "gc")
		mustContain(t, removed, "removed 2 neighbour entries of guests that are gone from bridge plain0\n")
		mustContain(t, removed, "whose port is gone\n")
		mustEqual(t, "links", len(links(t, hostNetns)), len(before)-2)
		mustEqual(t, "entries of a", strings.Contains(must(t, "ip", "neigh"), "192.0.2.2 dev plain0"), false)

		b.CapabilityArgs = object{"ips": []string{"192.0.2.2"}}
		mustEqual(t, "address", list(upstreams).add(b).IPs[0].Address.String(), "192.0.2.2/24")
		mustReach(t, "host", "192.0.2.2", "192.0.2.3")
		mustEqual(t, "gc again", runner(t, "gc"), "nothing to remove\n")
	})
}
