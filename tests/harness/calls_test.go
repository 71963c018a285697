package harness

import (
	"os"
	"path/filepath"
	"testing"

	gocni "github.com/containerd/go-cni"
	"github.com/containernetworking/cni/libcni"
	types100 "github.com/containernetworking/cni/pkg/types/100"
)

// The calls of firecracker-go-sdk's Machine (its network.go, 6fb280e of December 2025): a network by its name out of a
// folder, a cache of its own for each VM, a DEL before the first ADD, and one before each start after a crash.
func TestCallsOfFirecrackerSDK(t *testing.T) {
	for _, m := range modes {
		if m.host || (m.consumer != aVM && m.consumer != aVMBehind) {
			continue
		}
		t.Run(m.name, func(t *testing.T) {
			onOwnHost(t, func() {
				if m.lan {
					newLAN(t)
				}
				conf := m.configuration(t, "1.0.0")
				install(t, conf)
				name := conf["name"].(string)
				list, err := libcni.LoadConfList(cniConf, name)
				check(t, err)
				cni := libcni.NewCNIConfigWithCacheDir([]string{ours, upstream}, "/var/lib/cni/vm-1", nil)
				rt := at("vm-1", newNetns(t, "vm-1"), m.ifname)
				if m.consumer == aVMBehind {
					rt.Args = [][2]string{{"IgnoreUnknown", "1"}, {"TC_REDIRECT_TAP_NAME", "tap0"}, {"TC_REDIRECT_TAP_UID", "1000"}}
				}
				addresses := map[string]bool{}
				for range 3 { // nothing is deleted in between: the VM and its program crashed
					check(t, cni.DelNetworkList(t.Context(), list, rt))
					result, err := cni.AddNetworkList(t.Context(), list, rt)
					check(t, err)
					parsed, err := types100.NewResultFromResult(result)
					check(t, err)
					consume(t, m.consumer, parsed, rt)
					addresses[parsed.IPs[0].Address.IP.String()] = true
					mustEqual(t, "VMs' addresses held", len(leases(t, defaultDataDir, name))+len(leases(t, defaultDataDir, "_blocks")), 1)
				}
				check(t, cni.DelNetworkList(t.Context(), list, rt))
				eventually(t, "nothing is left in the namespace", func() bool { return len(links(t, rt.NetNS)) == 0 })
				mustEqual(t, "VMs' addresses held", len(leases(t, defaultDataDir, name))+len(leases(t, defaultDataDir, "_blocks")), 0)
			})
		})
	}
}

// nerdctlNetwork is the network that `nerdctl network create` writes (its pkg/netutil, 8da50408 of August 2026), with
// our plugins in place of bridge, firewall and host-local.
func nerdctlNetwork(t *testing.T, name, bridge, subnet string) []byte {
	t.Helper()
	install(t, object{"cniVersion": "1.0.0", "name": name, "nerdctlID": "17f29b073143d8cd97b5bbe492bdeffec1c5fee55cc1fe2112c8b9335f8b6121",
		"nerdctlLabels": object{"nerdctl/default-network": "true"}, "plugins": []any{
			object{"type": "slicer-bridge", "device": "veth", "bridge": bridge, "isGateway": true, "ipMasq": true, "hairpinMode": true,
				"capabilities": object{"ips": true}, "ipam": object{"type": "slicer-ipam",
					"routes": []any{object{"dst": "0.0.0.0/0"}}, "ranges": []any{[]any{object{"subnet": subnet}}}}},
			object{"type": "portmap", "capabilities": object{"portMappings": true}},
			object{"type": "slicer-firewall", "ingressPolicy": "same-bridge"},
			object{"type": "tuning"}}})
	text, err := os.ReadFile(filepath.Join(cniConf, name+".conflist"))
	check(t, err)
	return text
}

// The calls of nerdctl's hook, by the library that it uses: the container's ID with its containerd namespace before it;
// a DEL without a namespace before each ADD (a container that containerd starts again) and in the end; a published
// port, an address and a MAC by CNI_ARGS; two networks in one container.
func TestCallsOfNerdctl(t *testing.T) {
	onOwnHost(t, func() {
		outside := newOutside(t)
		cni, err := gocni.New(gocni.WithPluginDir([]string{ours, upstream}),
			gocni.WithConfListBytes(nerdctlNetwork(t, "bridge", "nerdctl0", "10.4.0.0/24")))
		check(t, err)
		second, err := gocni.New(gocni.WithPluginDir([]string{ours, upstream}),
			gocni.WithConfListBytes(nerdctlNetwork(t, "backend", "br-backend", "10.4.1.0/24")))
		check(t, err)
		id := "default-" + "5d6d6c3a0f8e4b2f9f8a2f6c1b7e3d9a5c4b8e7f6a1d2c3b4e5f60718293a4b5"
		other := "default-" + "0000000000000000000000000000000000000000000000000000000000000001"
		options := []gocni.NamespaceOpts{
			gocni.WithCapabilityPortMap([]gocni.PortMapping{{HostPort: 8080, ContainerPort: 80, Protocol: "tcp"}}),
			gocni.WithLabels(map[string]string{"IgnoreUnknown": "1"}), gocni.WithArgs("IP", "10.4.0.77"),
			gocni.WithArgs("MAC", "02:42:ac:11:00:02"), gocni.WithArgs("NERDCTL_CNI_DHCP_HOSTNAME", "web")}
		netns := newNetns(t, "web")
		for range 2 { // the second time the container runs on, with its interface
			_ = cni.Remove(t.Context(), id, "", options...)
			result, err := cni.Setup(t.Context(), id, netns, options...)
			check(t, err)
			mustEqual(t, "address", result.Interfaces["eth0"].IPConfigs[0].IP, "10.4.0.77")
			mustEqual(t, "MAC", linkIn(t, netns, "eth0").Mac, "02:42:ac:11:00:02")
		}
		serve(t, "web", 80)
		fetchPage(t, "outside", "http://"+outside+":8080")

		// ingressPolicy same-bridge: another network's container does not get in, one of the same does.
		_, err = second.Setup(t.Context(), other, newNetns(t, "stranger"), gocni.WithLabels(map[string]string{"IgnoreUnknown": "1"}))
		check(t, err)
		_, err = cni.Setup(t.Context(), other, newNetns(t, "friend"), gocni.WithLabels(map[string]string{"IgnoreUnknown": "1"}))
		check(t, err)
		fetchPage(t, "friend", "http://10.4.0.77")
		mustNotFetch(t, "stranger", "http://10.4.0.77")

		check(t, cni.Remove(t.Context(), id, "", options...))
		check(t, cni.Remove(t.Context(), other, ""))
		check(t, second.Remove(t.Context(), other, ""))
		mustEqual(t, "leases", append(leases(t, defaultDataDir, "bridge"), leases(t, defaultDataDir, "backend")...), []string{})
		eventually(t, "the bridges alone are left", func() bool { return len(links(t, hostNetns)) == 3 && len(links(t, netns)) == 0 })
	})
}
