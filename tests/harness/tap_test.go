package harness

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containernetworking/plugins/pkg/ns"
	"golang.org/x/sys/unix"
)

// Chains of upstream's plugins that end in slicer-tap.
var foreignChains = []struct {
	name    string
	plugins []any
	reaches []string // from the VM
	inbound bool     // the host reaches the VM
	lan     bool
}{
	{"ptp", []any{ptpPlugin, tapPlugin}, []string{"192.0.2.1"}, true, false},
	{"ptp, slicer-firewall", []any{ptpPlugin, object{"type": "slicer-firewall"}, tapPlugin},
		[]string{"192.0.2.1"}, true, false},
	{"ptp, slicer-firewall behind the TAP", []any{ptpPlugin, tapPlugin, object{"type": "slicer-firewall"}},
		[]string{"192.0.2.1"}, true, false},
	{"bridge, firewall, portmap", []any{
		object{"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true, "ipam": hostLocal},
		object{"type": "firewall", "backend": "iptables"},
		object{"type": "portmap", "capabilities": object{"portMappings": true}}, tapPlugin},
		[]string{"192.0.2.1"}, true, false},
	{"bridge, tuning, slicer-ipam", []any{
		object{"type": "bridge", "bridge": "cni0", "isGateway": true, "capabilities": object{"mac": true},
			"ipam": object{"type": "slicer-ipam", "subnet": "192.0.2.0/24"}},
		object{"type": "tuning", "mtu": 1400}, tapPlugin},
		[]string{"192.0.2.1"}, true, false},
	{"macvlan", []any{object{"type": "macvlan", "master": "lan0", "ipam": hostLocal}, tapPlugin},
		[]string{"192.0.2.1"}, false, true},
}

var (
	hostLocal = object{"type": "host-local", "subnet": "192.0.2.0/24", "routes": []any{object{"dst": "0.0.0.0/0"}}}
	ptpPlugin = object{"type": "ptp", "ipMasq": true, "ipam": hostLocal}
	tapPlugin = object{"type": "slicer-tap", "macspoofchk": true}
)

func needUpstream(t *testing.T, plugins []any) {
	t.Helper()
	for _, one := range plugins {
		kind := one.(object)["type"].(string)
		if _, err := exec.LookPath(filepath.Join(upstream, kind)); err != nil && !strings.HasPrefix(kind, "slicer-") {
			skip(t, "upstream's "+kind+" is not built (tests/harness/build)")
		}
	}
}

// lanOf gives the host an interface on a LAN, and that LAN its router 192.0.2.1.
func lanOf(t *testing.T) {
	t.Helper()
	newNetns(t, "router")
	must(t, "ip", "link", "add", "lan0", "type", "veth", "peer", "name", "eth0", "netns", "router")
	must(t, "ip", "link", "set", "lan0", "up")
	must(t, "ip", "-n", "router", "link", "set", "eth0", "up")
	must(t, "ip", "-n", "router", "addr", "add", "192.0.2.1/24", "dev", "eth0")
}

// The chains under libcni: the result is a VM's, packets pass both ways, and all verbs of all plugins hold.
func TestSlicerTapBehindUpstream(t *testing.T) {
	for _, chain := range foreignChains {
		t.Run(chain.name, func(t *testing.T) {
			onOwnHost(t, func() {
				needUpstream(t, chain.plugins)
				if chain.lan {
					lanOf(t)
				}
				n := load(t, object{"cniVersion": "1.0.0", "name": "foreign", "plugins": chain.plugins})
				rt := at("vm-1", newNetns(t, "vm-1"), "eth0")
				rt.Args = [][2]string{{"IgnoreUnknown", "1"}, {"TC_REDIRECT_TAP_UID", "1000"}}
				before := links(t, hostNetns)
				for range 2 { // the second time finds nothing of the first
					result := n.add(rt)
					vm, err := readVMConfig(result, rt.ContainerID)
					check(t, err)
					mustEqual(t, "TAP", vm.tap, "tap0")
					checkGuest(t, vm, chain.reaches, chain.inbound)
					check(t, n.tryCheck(rt))
					n.del(rt)
					n.del(rt)
				}
				mustEqual(t, "leases", leases(t, defaultDataDir, "foreign"), []string{})
				eventually(t, "no link is left but the network's bridge", func() bool {
					left := slices.DeleteFunc(links(t, hostNetns), func(name string) bool { return name == "cni0" })
					return slices.Equal(left, before) && len(links(t, rt.NetNS)) == 0
				})
			})
		})
	}
}

// The ready network on upstream's ptp, as it is shipped.
func TestShippedPtpNetwork(t *testing.T) {
	onOwnHost(t, func() {
		list := shipped(t, "55-slicer-ptp-tap.conflist")
		needUpstream(t, list["plugins"].([]any))
		n := load(t, list)
		check(t, n.status())
		rt := at("vm-1", newNetns(t, "vm-1"), "eth0")
		vm, err := readVMConfig(n.add(rt), rt.ContainerID)
		check(t, err)
		checkGuest(t, vm, []string{"10.73.16.1"}, true)
		check(t, n.tryCheck(rt))
		n.del(rt)
		mustEqual(t, "leases", leases(t, defaultDataDir, "slicer-ptp"), []string{})
		eventually(t, "nothing is left", func() bool {
			return len(links(t, hostNetns)) == 0 && len(links(t, rt.NetNS)) == 0
		})
	})
}

// A configuration of tc-redirect-tap, which has no key but the type; and its variables.
func TestSlicerTapInPlaceOfTcRedirectTap(t *testing.T) {
	for _, version := range []string{"0.3.0", "0.3.1", "0.4.0", "1.0.0"} {
		t.Run(version, func(t *testing.T) {
			onOwnHost(t, func() {
				plugins := []any{ptpPlugin, object{"type": "slicer-tap"}}
				needUpstream(t, plugins)
				n := load(t, object{"cniVersion": version, "name": "fcnet", "plugins": plugins})
				rt := at("551e7604-e35c-42b3-b825-416853441234", newNetns(t, "vm"), "veth0")
				rt.Args = [][2]string{{"IgnoreUnknown", "1"}, {"TC_REDIRECT_TAP_NAME", "vm-tap"}, {"TC_REDIRECT_TAP_UID", "40001"},
					{"TC_REDIRECT_TAP_GID", "40002"}}
				result := n.add(rt)
				vm, err := readVMConfig(result, rt.ContainerID)
				check(t, err)
				mustEqual(t, "TAP", vm.tap, "vm-tap")
				mustContain(t, must(t, "ip", "-n", "vm", "-d", "link", "show", "vm-tap"), "user 40001 group 40002")
				mustEqual(t, "the guest's MAC", vm.mac, linkIn(t, rt.NetNS, "veth0").Mac)
				mustEqual(t, "routes", len(vm.routes), 1)
				if version >= "0.4.0" {
					check(t, n.tryCheck(rt))
				}
				n.del(rt)
			})
		})
	}
}

// checkGuest boots a stand-in guest on the TAP, and lets it reach what it must.
func checkGuest(t *testing.T, vm *vmConfig, reaches []string, inbound bool) {
	t.Helper()
	defer startGuest(t, vm, "guest")()
	for _, to := range reaches {
		must(t, "ip", "netns", "exec", "guest", "ping", "-c", "1", "-W", "5", to)
	}
	if inbound {
		must(t, "ping", "-c", "1", "-W", "5", vm.address.Address.IP.String())
	}
}

// startGuest is a stand-in guest on the TAP: a namespace with the kernel's own stack behind it, until stop is called.
func startGuest(t *testing.T, vm *vmConfig, name string) (stop func()) {
	t.Helper()
	guest := newNetns(t, name)
	tap, eth0 := openTap(t, vm.netns, vm.tap), openTap(t, guest, "eth0")
	go pump(tap, eth0)
	go pump(eth0, tap)
	must(t, "ip", "-n", name, "link", "set", "eth0", "address", vm.mac, "up")
	must(t, "ip", "-n", name, "addr", "add", vm.address.Address.String(), "dev", "eth0")
	if vm.address.Gateway != nil {
		must(t, "ip", "-n", name, "route", "add", "default", "via", vm.address.Gateway.String())
	}
	return func() {
		tap.Close()
		eth0.Close()
		must(t, "ip", "netns", "del", name)
	}
}

// openTap opens a TAP as a hypervisor does, or makes one that lives as long as its file is open.
func openTap(t *testing.T, netns, name string) *os.File {
	t.Helper()
	var file *os.File
	check(t, ns.WithNetNSPath(netns, func(ns.NetNS) error {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if err != nil {
			return err
		}
		request, err := unix.NewIfreq(name)
		if err != nil {
			return err
		}
		request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
		if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
			return err
		}
		file = os.NewFile(uintptr(fd), name) // after TUNSETIFF: before it the poller sees an error
		return nil
	}))
	return file
}

// pump passes frames on, with their virtio-net headers, until one of the two is closed.
func pump(from, to *os.File) {
	buffer := make([]byte, 1<<17)
	for {
		count, err := from.Read(buffer)
		if err != nil {
			return
		}
		_, _ = to.Write(buffer[:count]) // a link that is not up yet loses frames
	}
}
