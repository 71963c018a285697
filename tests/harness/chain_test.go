package harness

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
)

// checkResult compares a result with the attachment contract.
func checkResult(t *testing.T, result *types100.Result, rt *runtimeConf, vm bool) {
	t.Helper()
	if len(result.IPs) != 1 || result.IPs[0].Interface == nil {
		t.Fatalf("want one address with an interface: %v", result)
	}
	owner := result.Interfaces[*result.IPs[0].Interface]
	mustEqual(t, "the address's interface", owner.Name, rt.IfName)
	if !vm {
		mustEqual(t, "its sandbox", owner.Sandbox, rt.NetNS)
		return
	}
	mustEqual(t, "the guest's sandbox", owner.Sandbox, rt.ContainerID)
	if mac, err := net.ParseMAC(owner.Mac); err != nil || mac[0]&3 != 2 {
		t.Fatalf("the guest's MAC %q is not a locally administered one", owner.Mac)
	}
	for _, tap := range result.Interfaces {
		if tap.Name == rt.IfName && tap.Sandbox == rt.NetNS {
			if tap.Mac == owner.Mac {
				t.Fatalf("TAP and guest have the same MAC %s", tap.Mac)
			}
			return
		}
	}
	t.Fatalf("no TAP %s in sandbox %s: %v", rt.IfName, rt.NetNS, result.Interfaces)
}

// Our main plugin with upstream's IPAM behind it.
func TestHostLocalBehindSlicerBridge(t *testing.T) {
	onOwnHost(t, func() {
		list := shipped(t, "51-slicer.conflist")
		plugin(list, 0)["ipam"].(object)["type"] = "host-local"
		n := load(t, list)
		rt := at("a", hostNetns, "vmtap0")
		checkResult(t, n.add(rt), rt, true)
		check(t, n.tryCheck(rt))
		mustEqual(t, "leases", len(leases(t, defaultDataDir, "slicer")), 1)
		n.del(rt)
		mustEqual(t, "leases", leases(t, defaultDataDir, "slicer"), []string{})
	})
}

// A machine whose network was upstream's bridge, host-local and firewall moves to ours plugin by plugin.
func TestMixedChains(t *testing.T) {
	for _, chain := range [][2]string{{"bridge", "slicer-firewall"}, {"slicer-bridge", "firewall"}} {
		t.Run(strings.Join(chain[:], " then "), func(t *testing.T) {
			onOwnHost(t, func() {
				list := shipped(t, "53-slicer-containers.conflist")
				plugin(list, 0)["type"], plugin(list, 1)["type"] = chain[0], chain[1]
				plugin(list, 1)["backend"] = map[bool]any{true: "iptables", false: nil}[chain[1] == "firewall"]
				n := load(t, list)
				rt := at("c", newNetns(t, "c"), "eth0")
				checkResult(t, n.add(rt), rt, false)
				check(t, n.tryCheck(rt))
				must(t, "ip", "netns", "exec", "c", "ping", "-c", "1", "-W", "2", "10.73.8.1")
				n.del(rt)
				mustEqual(t, "leases", leases(t, defaultDataDir, "slicer-containers"), []string{})
			})
		})
	}
}

// 60 attachments, 8 at a time, in both placements at once: no failure, no address twice, nothing left.
func TestParallelAdds(t *testing.T) {
	onOwnHost(t, func() {
		n := load(t, shipped(t, "51-slicer.conflist"))
		const count = 60
		attachments := make([]*runtimeConf, count)
		for i := range attachments {
			if i%2 == 0 {
				attachments[i] = at(fmt.Sprint("vm", i), hostNetns, fmt.Sprint("vmtap", i))
			} else {
				attachments[i] = at(fmt.Sprint("vm", i), newNetns(t, fmt.Sprint("vm", i)), "tap0")
			}
		}
		results := make([]*types100.Result, count)
		inParallel(t, count, func(i int) (err error) {
			results[i], err = n.tryAdd(attachments[i])
			return err
		})
		seen := map[string]int{}
		for i, result := range results {
			checkResult(t, result, attachments[i], true)
			address := result.IPs[0].Address.IP.String()
			if other, taken := seen[address]; taken {
				t.Fatalf("vm%d and vm%d both have %s", other, i, address)
			}
			seen[address] = i
		}
		inParallel(t, count, func(i int) error { return n.tryCheck(attachments[i]) })
		inParallel(t, count, func(i int) error {
			return n.cni.DelNetworkList(t.Context(), n.list, attachments[i])
		})
		mustEqual(t, "leases", leases(t, defaultDataDir, "slicer"), []string{})
		eventually(t, "only the bridge is left", func() bool {
			return len(links(t, hostNetns)) == 1 && len(links(t, "/run/netns/vm1")) == 0
		})
	})
}

func inParallel(t *testing.T, count int, work func(i int) error) {
	t.Helper()
	var wait sync.WaitGroup
	slots := make(chan struct{}, 8)
	errors := make([]error, count)
	for i := 0; i < count; i++ {
		wait.Add(1)
		go func() {
			defer wait.Done()
			slots <- struct{}{}
			errors[i] = work(i)
			<-slots
		}()
	}
	wait.Wait()
	failed := 0
	for i, err := range errors {
		if err != nil {
			if failed++; failed <= 3 {
				t.Errorf("number %d: %v", i, err)
			}
		}
	}
	if failed > 0 {
		t.Fatalf("%d of %d failed", failed, count)
	}
}

// GC removes what the list lacks, of its own network only.
func TestGarbageCollection(t *testing.T) {
	onOwnHost(t, func() {
		one := shipped(t, "51-slicer.conflist")
		delete(one, "disableGC")
		n, other := load(t, one), load(t, shipped(t, "52-slicer-private.conflist"))
		kept, lost := at("kept", hostNetns, "vmtap0"), at("lost", newNetns(t, "lost"), "tap0")
		foreign := at("foreign", newNetns(t, "foreign"), "tap0")
		n.add(kept)
		n.add(lost)
		other.add(foreign)
		// libcni's cache is gone, as after a crash: only the GC verb can find what was lost.
		must(t, "rm", "-rf", "/var/lib/cni/results")
		n.gc(types.GCAttachment{ContainerID: "kept", IfName: "vmtap0"})
		mustEqual(t, "leases", len(leases(t, defaultDataDir, "slicer")), 1)
		mustEqual(t, "leases of the other network", len(leases(t, defaultDataDir, "slicer-private")), 1)
		eventually(t, "the lost attachment's links are gone", func() bool { return len(links(t, "/run/netns/lost")) == 0 })
		mustEqual(t, "the kept TAP", strings.Contains(fmt.Sprint(links(t, hostNetns)), "vmtap0"), true)
		mustEqual(t, "the other network's links", len(links(t, "/run/netns/foreign")) > 0, true)
	})
}

// cnitool, as an administrator types it, on the ready networks as they are shipped.
func TestCnitool(t *testing.T) {
	for _, m := range modes {
		if m.host { // cnitool attaches to namespaces with a name
			continue
		}
		t.Run(m.name, func(t *testing.T) {
			onOwnHost(t, func() {
				if m.lan {
					newLAN(t)
				}
				netns := newNetns(t, "box")
				t.Setenv("NETCONFPATH", conflist)
				t.Setenv("CNI_PATH", ours+":"+upstream)
				t.Setenv("CNI_IFNAME", m.ifname)
				cnitool, network := filepath.Join(upstream, "cnitool"), shipped(t, m.file)["name"].(string)
				must(t, cnitool, "status", network, netns)
				result := must(t, cnitool, "add", network, netns)
				mustContain(t, result, `"cniVersion": "1.1.0"`)
				mustContain(t, result, netns)
				must(t, cnitool, "check", network, netns)
				must(t, cnitool, "gc", network, netns) // disableGC: nothing may happen
				must(t, cnitool, "check", network, netns)
				must(t, cnitool, "del", network, netns)
				mustEqual(t, "leases", len(leases(t, defaultDataDir, network))+len(leases(t, defaultDataDir, "_blocks")), 0)
				eventually(t, "the namespace is empty", func() bool { return len(links(t, netns)) == 0 })
			})
		})
	}
}

// A container in two networks has two default routes, of which IPv4 takes the later one, as with upstream's plugins;
// CHECK looks at its own.
func TestTwoNetworksOfAContainer(t *testing.T) {
	onOwnHost(t, func() {
		one, two := at("a", newNetns(t, "a"), "eth0"), at("a", "/run/netns/a", "eth1")
		first := load(t, slicers.list("one", v4, v6))
		second := load(t, slicers.list("two", "198.51.100.0/24", "2001:db8:2::/64"))
		first.add(one)
		second.add(two)
		check(t, first.tryCheck(one))
		check(t, second.tryCheck(two))
		mustReach(t, "a", "192.0.2.1", "198.51.100.1", "2001:db8:1::1", "2001:db8:2::1")
		mustContain(t, must(t, "ip", "-n", "a", "route", "get", "203.0.113.1"), "dev eth1")
		tap, three := load(t, object{"cniVersion": "1.1.0", "name": "three", "plugins": []any{object{"type": "slicer-tap",
			"ipam": object{"type": "slicer-ipam", "subnet": "203.0.113.0/24", "routes": []any{object{"dst": "0.0.0.0/0"}}}}}}),
			at("a", "/run/netns/a", "tap0")
		tap.add(three)
		check(t, tap.tryCheck(three))
		tap.del(three)
		second.del(two)
		check(t, first.tryCheck(one))
		mustContain(t, must(t, "ip", "-n", "a", "route", "get", "203.0.113.1"), "dev eth0")
		mustContain(t, must(t, "ip", "-n", "a", "route", "get", "2001:db8:9::1"), "dev eth0")
		must(t, "ip", "-n", "a", "-6", "route", "del", "default")
		if err := first.tryCheck(one); err == nil || !strings.Contains(err.Error(), "no route to '::/0'") {
			t.Fatalf("CHECK without a default route: %v", err)
		}
		first.del(one)
	})
}

// upstream's static: addresses that the configuration names.
func TestStaticBehindSlicerBridge(t *testing.T) {
	onOwnHost(t, func() {
		list := slicers.list("one", v4, v6)
		plugin(list, 0)["ipam"] = object{"type": "static", "addresses": []any{
			object{"address": "192.0.2.9/24", "gateway": "192.0.2.1"}, object{"address": "2001:db8:1::9/64", "gateway": "2001:db8:1::1"}},
			"routes": []any{object{"dst": "0.0.0.0/0"}, object{"dst": "::/0"}}}
		n, a := load(t, list), at("a", newNetns(t, "a"), "eth0")
		check(t, n.status())
		mustEqual(t, "address", n.add(a).IPs[0].Address.String(), "192.0.2.9/24")
		check(t, n.tryCheck(a))
		mustReach(t, "a", "192.0.2.1", "2001:db8:1::1")
		n.del(a)
		n.gc()
		mustBeGone(t, a, []string{"one0"})
	})
}

// upstream's sbr behind slicer-bridge, for a container's second network: what comes from its address leaves by it, all
// else by the first one. sbr moves the routes that slicer-bridge made, which its CHECK allows.
func TestSourceBasedRouting(t *testing.T) {
	onOwnHost(t, func() {
		one, two := at("a", newNetns(t, "a"), "eth0"), at("a", "/run/netns/a", "eth1")
		first := load(t, slicers.list("one", v4, v6))
		list := slicers.list("two", "198.51.100.0/24", "2001:db8:2::/64")
		list["plugins"] = append(list["plugins"].([]any), object{"type": "sbr"})
		second := load(t, list)
		first.add(one)
		second.add(two)
		mustContain(t, must(t, "ip", "-n", "a", "route", "get", "203.0.113.1"), "dev eth0")
		mustContain(t, must(t, "ip", "-n", "a", "route", "get", "203.0.113.1", "from", "198.51.100.2"), "dev eth1")
		check(t, first.tryCheck(one))
		check(t, second.tryCheck(two))
		must(t, "ip", "-n", "a", "route", "flush", "table", "100")
		if err := second.tryCheck(two); err == nil || !strings.Contains(err.Error(), "no route to") {
			t.Fatalf("CHECK without routes: %v", err)
		}
		second.del(two)
		check(t, first.tryCheck(one))
		first.del(one)
	})
}

// ptp's containers go on under slicer-bridge: DEL removes link, lease, and what ptp and firewall wrote.
func TestPtpTakenOver(t *testing.T) {
	for _, kind := range []string{"nft", "legacy"} {
		t.Run(kind, func(t *testing.T) {
			onOwnHost(t, func() {
				useIptables(t, kind)
				a, b := at("a", newNetns(t, "a"), "eth0"), at("b", newNetns(t, "b"), "eth0")
				list := func(s suite) object { // upstream's waits for duplicate address detection of IPv6
					list := s.list("plain", v4, v6)
					plugin(list, 0)["ipam"].(object)["ranges"] = []any{[]any{object{"subnet": v4}}}
					plugin(list, 0)["ipam"].(object)["routes"] = []any{object{"dst": "0.0.0.0/0"}}
					return list
				}
				ptp := list(upstreams)
				plugin(ptp, 0)["type"] = "ptp"
				old := load(t, ptp)
				old.add(a)
				old.add(b)
				rules, before := upstreamsRules(t), links(t, hostNetns)
				load(t, list(slicers)).del(a)
				mustStand(t, "DEL", without(t, rules, "192.0.2.2/32", chainOf(t, rules, "plain", "a")))
				mustBeGone(t, a, before[:len(before)-1])
				mustEqual(t, "leases", held(t), "192.0.2.3")
			})
		})
	}
}
