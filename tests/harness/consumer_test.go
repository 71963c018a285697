package harness

import (
	"fmt"
	"net"
	"slices"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/plugins/pkg/ns"
)

// vmConfig is what firecracker-go-sdk takes from a result (its package cni/vmconf; the rules, not the code): a microVM
// is configured from this and nothing else.
type vmConfig struct {
	tap, netns, mac string
	mtu             int
	address         *types100.IPConfig
	routes          []*types.Route
	dns             types.DNS
}

// readVMConfig applies those rules: exactly one interface whose sandbox is the container ID, exactly one other of that
// name, exactly one address at the first, and the second's sandbox is a namespace that can be opened.
func readVMConfig(result *types100.Result, containerID string) (*vmConfig, error) {
	var inVM, others []*types100.Interface
	for _, one := range result.Interfaces {
		if one.Sandbox == containerID {
			inVM = append(inVM, one)
		} else {
			others = append(others, one)
		}
	}
	if len(inVM) != 1 {
		return nil, fmt.Errorf("%d interfaces have the sandbox %q, not 1", len(inVM), containerID)
	}
	others = slices.DeleteFunc(others, func(one *types100.Interface) bool { return one.Name != inVM[0].Name })
	if len(others) != 1 {
		return nil, fmt.Errorf("%d interfaces beside the VM's are called %q, not 1", len(others), inVM[0].Name)
	}
	var addresses []*types100.IPConfig
	for _, one := range result.IPs {
		if one.Interface != nil && result.Interfaces[*one.Interface] == inVM[0] {
			addresses = append(addresses, one)
		}
	}
	if len(addresses) != 1 {
		return nil, fmt.Errorf("%d addresses of the VM's interface, not 1", len(addresses))
	}
	sandbox, err := ns.GetNS(others[0].Sandbox)
	if err != nil {
		return nil, err
	}
	defer sandbox.Close()
	return &vmConfig{tap: others[0].Name, netns: others[0].Sandbox, mac: inVM[0].Mac, mtu: others[0].Mtu,
		address: addresses[0], routes: result.Routes, dns: result.DNS}, nil
}

// bootParameter is the kernel's ip= (Documentation/admin-guide/nfs/nfsroot.rst), as such a consumer writes it: IPv4,
// no more than two name servers.
func (c *vmConfig) bootParameter() string {
	servers := append(slices.Clone(c.dns.Nameservers), "", "")
	return fmt.Sprintf("ip=%s::%s:%s:::off:%s:%s:", c.address.Address.IP, c.address.Gateway,
		net.IP(c.address.Address.Mask), servers[0], servers[1])
}

// consume holds the result against what its consumer needs, and against the kernel.
func consume(t *testing.T, who consumer, result *types100.Result, rt *runtimeConf) {
	t.Helper()
	switch who {
	case aContainer:
		checkContainer(t, result, rt)
	case aVM:
		checkVM(t, result, rt, rt.IfName)
	case aVMBehind:
		checkVM(t, result, rt, "tap0") // CNI_IFNAME is the container's interface
	case aVMByDHCP:
		mustEqual(t, "addresses", len(result.IPs), 0)
		mustEqual(t, "entries of the interface", len(result.Interfaces), 2)
		mustEqual(t, "the macvtap's and the guest's MAC", result.Interfaces[0].Mac, result.Interfaces[1].Mac)
		checkTap(t, linkIn(t, rt.NetNS, rt.IfName), "macvtap", result.Interfaces[0].Mac)
	}
}

func checkTap(t *testing.T, link linkFacts, kind, mac string) {
	t.Helper()
	mustEqual(t, "kind of the link", link.Info.Kind, kind)
	mustEqual(t, "its MAC", link.Mac, mac)
}

func checkVM(t *testing.T, result *types100.Result, rt *runtimeConf, tap string) {
	t.Helper()
	vm, err := readVMConfig(result, rt.ContainerID)
	check(t, err)
	mustEqual(t, "TAP and namespace", []string{vm.tap, vm.netns}, []string{tap, rt.NetNS})
	link := linkIn(t, vm.netns, vm.tap)
	if link.Info.Kind != "tun" && link.Info.Kind != "macvtap" {
		t.Fatalf("%s is a %q", vm.tap, link.Info.Kind)
	}
	if vm.mtu != 0 { // told from version 1.1.0 on
		mustEqual(t, "the TAP's MTU", vm.mtu, link.MTU)
	}
	if mac, err := net.ParseMAC(vm.mac); err != nil || mac[0]&3 != 2 {
		t.Fatalf("the guest's MAC %q is not a locally administered one", vm.mac)
	}
	mustEqual(t, "the TAP has the guest's MAC", link.Mac == vm.mac, link.Info.Kind == "macvtap")
	if vm.address.Address.IP.To4() == nil || !vm.address.Address.Contains(vm.address.Gateway) {
		t.Fatalf("not an IPv4 address with a gateway in its subnet: %v", vm.address)
	}
	mustEqual(t, "ip=", vm.bootParameter(), fmt.Sprintf("ip=%s::%s:%s:::off:198.51.100.53:198.51.100.54:",
		vm.address.Address.IP, vm.address.Gateway, net.IP(vm.address.Address.Mask)))
	mustEqual(t, "domain", vm.dns.Domain, "vms.example")
}

func checkContainer(t *testing.T, result *types100.Result, rt *runtimeConf) {
	t.Helper()
	if len(result.IPs) != 1 || result.IPs[0].Interface == nil {
		t.Fatalf("want one address with an interface: %v", result)
	}
	owner := result.Interfaces[*result.IPs[0].Interface]
	mustEqual(t, "the address's interface", []string{owner.Name, owner.Sandbox}, []string{rt.IfName, rt.NetNS})
	link := linkIn(t, rt.NetNS, rt.IfName)
	checkTap(t, link, "veth", owner.Mac)
	mustContain(t, must(t, "ip", "-n", rt.ContainerID, "addr", "show", "dev", rt.IfName), result.IPs[0].Address.String())
	mustContain(t, must(t, "ip", "-n", rt.ContainerID, "route"), "default via "+result.IPs[0].Gateway.String())
}
