package harness

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"testing"

	types100 "github.com/containernetworking/cni/pkg/types/100"
)

// ipam calls an IPAM plugin directly, as its caller (a main plugin) would.
type ipam struct {
	t       *testing.T
	program string
	conf    object
}

func newIpam(t *testing.T, program string, dataDir string) ipam {
	return ipam{t, program, object{
		"cniVersion": "1.0.0", "name": "shared", "type": "any",
		"ipam": object{"type": filepath.Base(program), "dataDir": dataDir, "subnet": "192.0.2.0/28"}}}
}

func (i ipam) call(command, id string) (*types100.Result, error) {
	i.t.Helper()
	text, err := json.Marshal(i.conf)
	check(i.t, err)
	run := exec.Command(i.program)
	run.Env = []string{"CNI_COMMAND=" + command, "CNI_CONTAINERID=" + id, "CNI_NETNS=/run/netns/none", "CNI_IFNAME=eth0",
		"CNI_PATH=" + upstream}
	run.Stdin = bytes.NewReader(text)
	output, err := run.Output()
	if err != nil {
		return nil, fmt.Errorf("%s %s %s: %w: %s", filepath.Base(i.program), command, id, err, output)
	}
	if command != "ADD" {
		return nil, nil
	}
	result, err := types100.NewResult(output)
	if err != nil {
		return nil, err
	}
	return result.(*types100.Result), nil
}

func (i ipam) add(id string) string {
	i.t.Helper()
	result, err := i.call("ADD", id)
	check(i.t, err)
	return result.IPs[0].Address.String()
}

func (i ipam) del(id string) {
	i.t.Helper()
	_, err := i.call("DEL", id)
	check(i.t, err)
}

// Either program continues where the other stopped, with VMs running.
func TestAllocationsAreTakenOver(t *testing.T) {
	for _, names := range [][2]string{{"host-local", "slicer-ipam"}, {"slicer-ipam", "host-local"}} {
		t.Run(names[0]+" then "+names[1], func(t *testing.T) {
			onOwnHost(t, func() {
				folder := t.TempDir()
				program := map[string]string{
					"host-local": filepath.Join(upstream, "host-local"), "slicer-ipam": filepath.Join(ours, "slicer-ipam")}
				before, after := newIpam(t, program[names[0]], folder), newIpam(t, program[names[1]], folder)
				mustEqual(t, "first", before.add("a"), "192.0.2.2/28")
				mustEqual(t, "second", before.add("b"), "192.0.2.3/28")
				mustEqual(t, "the other goes on after it", after.add("c"), "192.0.2.4/28")
				mustEqual(t, "and back", before.add("d"), "192.0.2.5/28")
				if _, err := after.call("ADD", "a"); err == nil {
					t.Fatal("an owner that the other program served got a second address")
				}
				_, err := after.call("CHECK", "b")
				check(t, err)
				after.del("a")
				before.del("c")
				left := leases(t, folder, "shared")
				sort.Strings(left)
				mustEqual(t, "left", left, []string{"192.0.2.3", "192.0.2.5"})
				text, err := os.ReadFile(filepath.Join(folder, "shared", "192.0.2.5"))
				check(t, err)
				mustEqual(t, "the file's text", fmt.Sprintf("%q", text), `"d\r\neth0"`)
				// The pool is walked to its end and around, whoever asks.
				for n := 0; n < 11; n++ {
					(map[bool]ipam{true: before, false: after})[n%2 == 0].add(fmt.Sprint("x", n))
				}
				for _, one := range []ipam{before, after} {
					if _, err := one.call("ADD", "too-many"); err == nil {
						t.Fatal("an address from a full pool")
					}
				}
			})
		})
	}
}

func TestFullPoolOfUpstreamsBridge(t *testing.T) {
	onOwnHost(t, func() {
		n := load(t, upstreamBridge("slicer-ipam"))
		for i := 0; i < 5; i++ { // a /29 less network, gateway and broadcast
			n.add(at(fmt.Sprint("c", i), newNetns(t, fmt.Sprint("c", i)), "eth0"))
		}
		_, err := n.tryAdd(at("c5", newNetns(t, "c5"), "eth0"))
		if err == nil {
			t.Fatal("a sixth address out of five")
		}
		mustContain(t, err.Error(), "no address is free")
		for i := 0; i < 6; i++ {
			n.del(at(fmt.Sprint("c", i), fmt.Sprint("/run/netns/c", i), "eth0"))
		}
		mustEqual(t, "left", leases(t, defaultDataDir, "plain"), []string{})
	})
}

// upstreamBridge is a container network of upstream's bridge plugin with the given IPAM.
func upstreamBridge(ipamType string) object {
	return object{"cniVersion": "1.1.0", "name": "plain", "plugins": []any{object{
		"type": "bridge", "bridge": "plain0", "isGateway": true,
		"ipam": object{"type": ipamType, "subnet": "192.0.2.0/29", "routes": []any{object{"dst": "0.0.0.0/0"}}}}}}
}

// upstream's bridge with our IPAM behind it: every verb goes through.
func TestSlicerIpamBehindUpstreamsBridge(t *testing.T) {
	onOwnHost(t, func() {
		n := load(t, upstreamBridge("slicer-ipam"))
		check(t, n.status())
		rt := at("c1", newNetns(t, "c1"), "eth0")
		result := n.add(rt)
		mustEqual(t, "address", result.IPs[0].Address.String(), "192.0.2.2/29")
		check(t, n.tryCheck(rt))
		must(t, "ip", "netns", "exec", "c1", "ping", "-c", "1", "-W", "2", "192.0.2.1")
		mustEqual(t, "leases", leases(t, defaultDataDir, "plain"), []string{"192.0.2.2"})
		n.gc()
		mustEqual(t, "leases after GC of all", leases(t, defaultDataDir, "plain"), []string{})
		n.del(rt)
	})
}
