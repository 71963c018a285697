package harness

import (
	"context"
	"encoding/json"
	"path/filepath"
	"slices"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
)

// A mode is one way of ours to attach something: a ready conflist, and where a runtime wants the interface.
type mode struct {
	name, file, ifname string
	host               bool // the TAP is in the host's namespace
	lan                bool // on the LAN: the host has lan0 there
	consumer           consumer
}

// Who uses the interface; each demands a result of its own.
type consumer int

const (
	aVM        consumer = iota // static addresses: a microVM's kernel is told of them
	aVMByDHCP                  // a MAC is all that it gets
	aVMBehind                  // the same by slicer-tap, behind a container's interface
	aContainer                 // an interface of its own
)

var modes = []mode{
	{"bridge, host's namespace", "51-slicer.conflist", "vmtap0", true, false, aVM},
	{"bridge, private namespace", "51-slicer.conflist", "tap0", false, false, aVM},
	{"private", "52-slicer-private.conflist", "tap0", false, false, aVM},
	{"isolated", "52-slicer-isolated.conflist", "tap0", false, false, aVM},
	{"container", "53-slicer-containers.conflist", "eth0", false, false, aContainer},
	{"macvtap by DHCP", "53-slicer-macvtap.conflist", "tap0", false, true, aVMByDHCP},
	{"macvtap static", "54-slicer-macvtap-static.conflist", "tap0", false, true, aVM},
	{"tap behind upstream's ptp", "55-slicer-ptp-tap.conflist", "eth0", false, false, aVMBehind},
	{"filtered", "54-slicer-filtered.conflist", "vmtap0", true, false, aVM},
}

// newLAN gives the host an interface on a LAN where nobody answers, and its default route.
func newLAN(t *testing.T) {
	t.Helper()
	must(t, "ip", "link", "add", "lan0", "type", "veth", "peer", "name", "lan0-end")
	must(t, "ip", "link", "set", "lan0-end", "up")
	must(t, "ip", "link", "set", "lan0", "up")
	must(t, "ip", "addr", "add", "192.168.1.9/24", "dev", "lan0")
	must(t, "ip", "route", "add", "default", "via", "192.168.1.1")
}

// attachment makes the sandbox of the mode.
func (m mode) attachment(t *testing.T, id string) *runtimeConf {
	t.Helper()
	if m.host {
		return at(id, hostNetns, m.ifname)
	}
	return at(id, newNetns(t, id), m.ifname)
}

// configuration is the ready conflist at one version of the specification; empty: as it is shipped.
func (m mode) configuration(t *testing.T, version string) object {
	t.Helper()
	list := shipped(t, m.file)
	delete(list, "disableGC")
	if version != "" {
		delete(list, "cniVersions")
		list["cniVersion"] = version
	}
	main := plugin(list, 0)
	main["dns"] = object{"nameservers": []any{"198.51.100.53", "198.51.100.54"}, "domain": "vms.example"}
	if m.lan && m.consumer == aVM {
		main["probe"] = false // nobody is there to ask, and asking takes 0.2 s
	}
	return list
}

// Every mode under libcni, at every version of the specification that libcni and we have in common, with all verbs; and
// its result in the hands of the consumer that the mode is for.
func TestEveryModeAtEveryVersion(t *testing.T) {
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) {
			onOwnHost(t, func() {
				if m.lan {
					newLAN(t)
				}
				rt := m.attachment(t, "vm-1")
				before := links(t, hostNetns)
				for _, version := range []string{"0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0", ""} {
					t.Log("version", version)
					allVerbs(t, m, version, rt)
				}
				left := before
				if bridge, ok := plugin(m.configuration(t, ""), 0)["bridge"].(string); ok {
					left = append(left, bridge)
				}
				eventually(t, "no link is left but the network's bridge", func() bool {
					return slices.Equal(links(t, hostNetns), left) && (m.host || len(links(t, rt.NetNS)) == 0)
				})
			})
		})
	}
}

func allVerbs(t *testing.T, m mode, version string, rt *runtimeConf) {
	t.Helper()
	list := m.configuration(t, version)
	n := load(t, list)
	n.mustKnowItsVersions()
	check(t, n.status())
	result := n.add(rt)
	if version == "" {
		version = "1.1.0" // what libcni negotiates by "cniVersions"
	}
	mustEqual(t, "version that libcni negotiates", n.list.CNIVersion, version)
	cached, err := n.cni.GetNetworkListCachedResult(n.list, rt)
	check(t, err)
	mustEqual(t, "version of the result in the cache", cached.Version(), version)
	consume(t, m.consumer, result, rt)
	withCheck := version >= "0.4.0"
	if err := n.tryCheck(rt); (err == nil) != withCheck {
		t.Fatalf("CHECK at version %s: %v", version, err)
	}
	check(t, n.status())
	n.gc(types.GCAttachment{ContainerID: rt.ContainerID, IfName: rt.IfName})
	if withCheck {
		check(t, n.tryCheck(rt)) // GC left what it was told is in use
	}
	n.del(rt)
	n.del(rt)
	mustEqual(t, "leases", len(leases(t, defaultDataDir, n.list.Name))+len(leases(t, defaultDataDir, "_blocks")), 0)

	// What a runtime forgot, GC takes back.
	lost := n.add(rt)
	n.gc()
	mustEqual(t, "leases after GC", len(leases(t, defaultDataDir, n.list.Name))+len(leases(t, defaultDataDir, "_blocks")), 0)
	again := n.add(rt)
	if m.consumer != aVMBehind { // that one has the MAC of the interface before it, which ptp draws
		mustEqual(t, "the guest's MAC after another ADD", macs(again), macs(lost))
	}
	n.del(rt)
}

// mustKnowItsVersions asks every plugin of the chain.
func (n *network) mustKnowItsVersions() {
	n.t.Helper()
	for _, one := range n.list.Plugins {
		info, err := n.cni.GetVersionInfo(context.Background(), one.Network.Type)
		check(n.t, err)
		mustEqual(n.t, "versions of "+one.Network.Type, info.SupportedVersions(),
			[]string{"0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"})
	}
	_, err := n.cni.ValidateNetworkList(context.Background(), n.list)
	check(n.t, err)
}

// macs lists those of the guest or container.
func macs(result *types100.Result) []string {
	var all []string
	for _, one := range result.Interfaces {
		if one.Sandbox != "" && filepath.Dir(one.Sandbox) != "/run/netns" {
			all = append(all, one.Mac)
		}
	}
	return all
}

// What `ip -j link` tells of an interface.
type linkFacts struct {
	Name string `json:"ifname"`
	Mac  string `json:"address"`
	MTU  int    `json:"mtu"`
	Info struct {
		Kind string `json:"info_kind"`
	} `json:"linkinfo"`
}

func linkIn(t *testing.T, netns, name string) linkFacts {
	t.Helper()
	var found []linkFacts
	check(t, json.Unmarshal([]byte(must(t, "ip", "-n", filepath.Base(netns), "-d", "-j", "link", "show", "dev", name)), &found))
	return found[0]
}
