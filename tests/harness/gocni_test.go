package harness

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	gocni "github.com/containerd/go-cni"
)

// containerd's own library, at its newest, on a ready network.
func TestGoCNI(t *testing.T) {
	onOwnHost(t, func() {
		// Its loopback network says 0.3.1, which has no CHECK, so Check is for a network without that one.
		cni, err := gocni.New(gocni.WithPluginDir([]string{ours, upstream}), gocni.WithInterfacePrefix("eth"))
		check(t, err)
		check(t, cni.Load(gocni.WithConfListFile(filepath.Join(conflist, "53-slicer-containers.conflist"))))
		check(t, cni.Status())
		netns := newNetns(t, "c1")
		result, err := cni.Setup(t.Context(), "c1", netns, gocni.WithLabels(map[string]string{"K8S_POD_NAME": "c1"}),
			gocni.WithCapability("ips", []string{"10.73.8.77/22"}))
		check(t, err)
		mustEqual(t, "address", result.Interfaces["eth0"].IPConfigs[0].IP, "10.73.8.77")
		mustEqual(t, "gateway", result.Interfaces["eth0"].IPConfigs[0].Gateway, "10.73.8.1")
		mustEqual(t, "sandbox", result.Interfaces["eth0"].Sandbox, netns)
		check(t, cni.Check(t.Context(), "c1", netns, gocni.WithLabels(map[string]string{"K8S_POD_NAME": "c1"})))
		check(t, cni.Remove(t.Context(), "c1", netns))
		check(t, cni.Remove(t.Context(), "c1", "")) // as containerd calls it the second time
		mustEqual(t, "leases", leases(t, defaultDataDir, "slicer-containers"), []string{})
	})
}

// function is a process with a network namespace of its own, as faasd's are.
type function struct {
	name    string
	process *exec.Cmd
}

func newFunction(t *testing.T, name string) *function {
	t.Helper()
	process := exec.Command("sleep", "100")
	process.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	check(t, process.Start())
	return &function{name, process}
}

func (f *function) pid() string { return fmt.Sprint(f.process.Process.Pid) }

func (f *function) end() {
	_ = f.process.Process.Kill()
	_ = f.process.Wait()
}

// call runs what stands for faasd.
func (f *function) call(verb string) (string, error) {
	output, err := exec.Command(faasdNetwork, verb, f.name, f.pid()).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("faasd-network %s %s: %w: %s", verb, f.name, err, output)
	}
	return strings.TrimSpace(string(output)), nil
}

var faasdNetwork = fromEnvironment("SLICER_FAASD_NETWORK", "../../build/harness/faasd-network")

// The page docs/faasd.md, as somebody who follows it would have it.
func onFaasdHost(t *testing.T, body func()) {
	t.Helper()
	onOwnHost(t, func() {
		check(t, syscall.Mount("tmpfs", "/opt", "tmpfs", 0, ""))
		check(t, os.MkdirAll(cniBin, 0o755))
		check(t, os.MkdirAll(cniConf, 0o755))
		link(t, ours, cniBin)
		for name, program := range map[string]string{"bridge": filepath.Join(ours, "slicer-bridge"),
			"host-local": filepath.Join(ours, "slicer-ipam"), "firewall": filepath.Join(ours, "slicer-firewall"),
			"loopback": filepath.Join(upstream, "loopback")} {
			check(t, os.Symlink(program, filepath.Join(cniBin, name)))
		}
		check(t, os.WriteFile(filepath.Join(cniConf, "10-openfaas.conflist"), fromPage(t, "faasd.md"), 0o644))
		body()
	})
}

func TestFaasd(t *testing.T) {
	const dataDir, network = "/var/run/cni", "openfaas-cni-bridge"
	onFaasdHost(t, func() {
		f := newFunction(t, "figlet")
		defer f.end()
		output, err := f.call("setup")
		check(t, err)
		mustContain(t, output, "eth1 10.62.0.2 10.62.0.1")
		address, err := f.call("address")
		check(t, err)
		mustEqual(t, "the address that faasd finds", address, "10.62.0.2")
		must(t, "nsenter", "-t", f.pid(), "-n", "ping", "-c", "1", "-W", "2", "10.62.0.1")
		must(t, "ping", "-c", "1", "-W", "2", "10.62.0.2")
		mustContain(t, must(t, "nsenter", "-t", f.pid(), "-n", "ip", "-d", "link", "show", "eth1"), "veth")

		f.end() // the namespace goes with its process
		for range 2 {
			_, err = f.call("remove")
			check(t, err)
		}
		mustEqual(t, "leases", leases(t, dataDir, network), []string{})
		eventually(t, "only the bridge is left", func() bool { return fmt.Sprint(links(t, hostNetns)) == "[openfaas0]" })
	})
}

func TestFaasdInParallel(t *testing.T) {
	onFaasdHost(t, func() {
		functions := make([]*function, 16)
		for i := range functions {
			functions[i] = newFunction(t, fmt.Sprint("f", i))
			defer functions[i].end()
		}
		inParallel(t, len(functions), func(i int) error { _, err := functions[i].call("setup"); return err })
		seen := map[string]bool{}
		for _, f := range functions {
			address, err := f.call("address")
			check(t, err)
			seen[address] = true
		}
		mustEqual(t, "different addresses", len(seen), len(functions))
		inParallel(t, len(functions), func(i int) error { _, err := functions[i].call("remove"); return err })
		mustEqual(t, "leases", leases(t, "/var/run/cni", "openfaas-cni-bridge"), []string{})
	})
}
