package harness

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/invoke"
	types100 "github.com/containernetworking/cni/pkg/types/100"
)

// vmNetwork is ptp with one of the two behind it: on a host with VMs the type alone changes.
func vmNetwork(t *testing.T, kind, folder string) *network {
	t.Helper()
	return load(t, object{"cniVersion": "1.0.0", "name": "fcnet", "plugins": []any{ptpPlugin, object{"type": kind}}}, folder)
}

// callTap calls slicer-tap alone, with a result of the caller's choice before it.
func callTap(t *testing.T, command string, rt *runtimeConf, previous *types100.Result, keys object) (*types100.Result, error) {
	t.Helper()
	conf := object{"cniVersion": "1.0.0", "name": "fcnet", "type": "slicer-tap", "prevResult": previous}
	for key, value := range keys {
		conf[key] = value
	}
	text, err := json.Marshal(conf)
	check(t, err)
	args := &invoke.Args{Command: command, ContainerID: rt.ContainerID, NetNS: rt.NetNS, IfName: rt.IfName, Path: ours}
	if command != "ADD" {
		return nil, invoke.ExecPluginWithoutResult(t.Context(), filepath.Join(ours, "slicer-tap"), text, args, nil)
	}
	result, err := invoke.ExecPluginWithResult(t.Context(), filepath.Join(ours, "slicer-tap"), text, args, nil)
	if err != nil {
		return nil, err
	}
	return types100.NewResultFromResult(result)
}

// filters lists what decides about what an interface of the attachment receives.
func filters(t *testing.T, rt *runtimeConf, link string) string {
	t.Helper()
	netns := filepath.Base(rt.NetNS)
	qdiscs := must(t, "tc", "-n", netns, "qdisc", "show", "dev", link)
	if !strings.Contains(qdiscs, "ingress") && !strings.Contains(qdiscs, "clsact") {
		return ""
	}
	return must(t, "tc", "-n", netns, "filter", "show", "dev", link, "ingress") + qdiscs
}

func mustFail(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error that says %q", parts)
	}
	for _, part := range parts {
		mustContain(t, err.Error(), part)
	}
}

// guestOf reads a result as firecracker-go-sdk would. (tc-redirect-tap gives each address twice; the VM's is taken.)
func guestOf(t *testing.T, result *types100.Result, rt *runtimeConf) *vmConfig {
	t.Helper()
	vm, err := readVMConfig(result, rt.ContainerID)
	check(t, err)
	return vm
}

func guestReaches(t *testing.T, guest string) {
	t.Helper()
	must(t, "ip", "netns", "exec", guest, "ping", "-c", "1", "-W", "5", "192.0.2.1")
}

// VMs run on TAPs that tc-redirect-tap made, and the conflist says slicer-tap from now on.
func TestTakeOverFromTcRedirectTap(t *testing.T) {
	onOwnHost(t, func() {
		needUpstream(t, []any{ptpPlugin})
		folder := redirectTapFolder(t)
		old := vmNetwork(t, redirectTapName, folder)
		var rts []*runtimeConf
		var results []*types100.Result
		for _, id := range []string{"a", "b", "c"} {
			rt := at(id, newNetns(t, id), "eth0")
			rt.Args = [][2]string{{"IgnoreUnknown", "1"}, {"TC_REDIRECT_TAP_NAME", "tap-" + id}}
			rts, results = append(rts, rt), append(results, old.add(rt))
		}
		a, b, c := rts[0], rts[1], rts[2]
		defer startGuest(t, guestOf(t, results[0], a), "guest")()
		guestReaches(t, "guest")

		now := vmNetwork(t, "slicer-tap", folder)
		for _, rt := range rts {
			check(t, now.tryCheck(rt))
		}
		guarded := object{"macspoofchk": true}
		_, err := callTap(t, "CHECK", a, results[0], guarded)
		mustFail(t, err, "anti-spoofing filter on 'tap-a'", "tc-redirect-tap made this TAP")

		// ADD again: refused where nothing tells whose TAP it is, else the TAP becomes slicer-tap's, under the running VM.
		before := *results[0]
		before.Interfaces = before.Interfaces[:2]
		before.IPs = before.IPs[:1]
		_, err = callTap(t, "ADD", a, &before, nil)
		mustFail(t, err, "tc-redirect-tap made the TAP 'tap-a' for it")
		mustEqual(t, "code", code(err), 102)
		guestReaches(t, "guest")
		again, err := callTap(t, "ADD", a, results[0], guarded)
		check(t, err)
		mustEqual(t, "the VM's configuration", guestOf(t, again, a).bootParameter(), guestOf(t, results[0], a).bootParameter())
		mustContain(t, must(t, "ip", "-n", "a", "link", "show", "tap-a"), "alias slicer:fcnet/a/eth0")
		for _, link := range []string{"tap-a", "eth0"} {
			mustEqual(t, "u32 filters of "+link, strings.Contains(filters(t, a, link), "u32"), false)
		}
		guestReaches(t, "guest")
		_, err = callTap(t, "CHECK", a, again, guarded)
		check(t, err)

		// DEL, of what was made ours and of what was not.
		for i, rt := range []*runtimeConf{a, b} {
			_, err = callTap(t, "DEL", rt, results[i], nil)
			check(t, err)
			eventually(t, "the TAP of "+rt.ContainerID+" is gone", func() bool { return slices.Equal(links(t, rt.NetNS), []string{"eth0"}) })
			mustEqual(t, "filters are left", strings.Contains(filters(t, rt, "eth0"), "mirred"), false)
			now.del(rt)
		}
		now.gc()
		eventually(t, "GC took c", func() bool { return len(links(t, c.NetNS)) == 0 })
		mustEqual(t, "leases", leases(t, defaultDataDir, "fcnet"), []string{})
	})
}

// What is no longer as tc-redirect-tap made it: CHECK says so, and DEL takes nobody's TAP.
func TestTakeOverFromTcRedirectTapLeavesStrangersAlone(t *testing.T) {
	onOwnHost(t, func() {
		needUpstream(t, []any{ptpPlugin})
		folder := redirectTapFolder(t)
		old, now := vmNetwork(t, redirectTapName, folder), vmNetwork(t, "slicer-tap", folder)
		changed, lost := at("changed", newNetns(t, "changed"), "eth0"), at("lost", newNetns(t, "lost"), "eth0")
		for _, rt := range []*runtimeConf{changed, lost} {
			rt.Args = [][2]string{{"IgnoreUnknown", "1"}, {"TC_REDIRECT_TAP_NAME", "tap7"}}
		}
		old.add(changed)
		result := old.add(lost)

		must(t, "tc", "-n", "changed", "qdisc", "del", "dev", "tap7", "ingress")
		mustFail(t, now.tryCheck(changed), "redirect of 'tap7' to 'eth0'", "tc-redirect-tap's filter is gone")
		now.del(changed)
		mustEqual(t, "links", links(t, changed.NetNS), []string{})

		must(t, "ip", "-n", "lost", "link", "del", "tap7")
		_, err := callTap(t, "DEL", lost, result, nil)
		check(t, err)
		mustEqual(t, "the filter that led to the lost TAP", strings.Contains(filters(t, lost, "eth0"), "u32"), false)
		must(t, "ip", "-n", "lost", "tuntap", "add", "tap7", "mode", "tap")
		mustFail(t, now.tryCheck(lost), "it is somebody else's")
		now.del(lost)
		mustEqual(t, "the stranger's TAP", links(t, lost.NetNS), []string{"tap7"})
		check(t, exec.Command("ip", "-n", "lost", "link", "del", "tap7").Run())
	})
}

// And back: tc-redirect-tap removes what slicer-tap made; its CHECK knows its own filters only.
func TestTcRedirectTapTakesOver(t *testing.T) {
	onOwnHost(t, func() {
		needUpstream(t, []any{ptpPlugin})
		folder := redirectTapFolder(t)
		ours, theirs := vmNetwork(t, "slicer-tap", folder), vmNetwork(t, redirectTapName, folder)
		rt := at("a", newNetns(t, "a"), "eth0")
		defer startGuest(t, guestOf(t, ours.add(rt), rt), "guest")()
		guestReaches(t, "guest")
		mustFail(t, theirs.tryCheck(rt), "filter")
		guestReaches(t, "guest")
		theirs.del(rt)
		mustEqual(t, "links", links(t, rt.NetNS), []string{})
	})
}
