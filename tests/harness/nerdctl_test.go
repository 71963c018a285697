package harness

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// nerdctl cannot be had as a Go module here: SLICER_NERDCTL names the program.
var nerdctlProgram = os.Getenv("SLICER_NERDCTL")

func (m *machine) tryNerdctl(arguments ...string) (string, error) {
	global := []string{"--data-root", filepath.Join(m.folder, "nerdctl"), "--cni-path", cniBin, "--cni-netconfpath", cniConf,
		"--cgroup-manager", "cgroupfs"}
	output, err := exec.Command(nerdctlProgram, append(global, arguments...)...).CombinedOutput()
	return strings.TrimSpace(string(output)), err
}

func (m *machine) nerdctl(arguments ...string) string {
	m.t.Helper()
	output, err := m.tryNerdctl(arguments...)
	if err != nil {
		m.t.Fatalf("nerdctl %s: %v\n%s", strings.Join(arguments, " "), err, output)
	}
	return output
}

// startContainer runs one in the background that serves a page on port 80.
func (m *machine) startContainer(name string, arguments ...string) {
	m.t.Helper()
	m.nerdctl(append(append([]string{"run", "-d", "--name", name, "--pull", "never", "--cgroup-parent", m.cgroups}, arguments...),
		imageName, "/bin/busybox", "httpd", "-f", "-h", "/www")...)
	must(m.t, "ln", "-sf", "/proc/"+m.nerdctl("inspect", "-f", "{{.State.Pid}}", name)+"/ns/net", "/run/netns/"+name)
}

// onNerdctlHost: `install` fills cniBin.
func onNerdctlHost(t *testing.T, install func(), body func(m *machine, outside string)) {
	t.Helper()
	inChild(t, syscall.CLONE_NEWPID, func() {
		if nerdctlProgram == "" {
			skip(t, "SLICER_NERDCTL does not name a nerdctl")
		}
		prepareHost(t)
		m := newMachine(t)
		install()
		outside := newOutside(t)
		m.start()
		body(m, outside)
	})
}

// Ours stand under upstream's names, and nerdctl makes, shows and removes its networks as ever.
func TestNerdctl(t *testing.T) {
	onNerdctlHost(t, func() {
		for program, name := range map[string]string{"slicer-bridge": "bridge", "slicer-ipam": "host-local", "slicer-firewall": "firewall"} {
			check(t, os.Remove(filepath.Join(cniBin, name)))
			check(t, os.Symlink(filepath.Join(ours, program), filepath.Join(cniBin, name)))
		}
	}, func(m *machine, outside string) {
		m.startContainer("web", "-p", "8080:80", "--ip", "10.4.0.77", "--mac-address", "02:42:ac:11:00:02")
		mustEqual(t, "MAC", linkIn(t, "/run/netns/web", "eth0").Mac, "02:42:ac:11:00:02")
		fetchPage(t, "outside", "http://"+outside+":8080")
		mustContain(t, m.nerdctl("network", "inspect", "bridge"), `"IPv4Address": "10.4.0.77/24"`)

		// Another network: its containers are apart; one may be in both.
		m.nerdctl("network", "create", "backend", "--subnet", "10.4.9.0/24")
		m.startContainer("friend", "--net", "bridge")
		m.startContainer("stranger", "--net", "backend")
		m.startContainer("both", "--net", "bridge", "--net", "backend")
		fetchPage(t, "friend", "http://10.4.0.77")
		mustNotFetch(t, "stranger", "http://10.4.0.77")
		fetchPage(t, "both", "http://10.4.0.77")
		fetchPage(t, "both", "http://10.4.9.2")
		mustReach(t, "both", "10.4.0.1", "10.4.9.1")

		// Stopped or killed, and started: the address and the port are there again.
		m.nerdctl("restart", "-t", "1", "web")
		fetchPage(t, "outside", "http://"+outside+":8080")
		m.nerdctl("kill", "web")
		m.nerdctl("start", "web")
		fetchPage(t, "outside", "http://"+outside+":8080")

		if output, err := m.tryNerdctl("network", "rm", "backend"); err == nil {
			t.Fatalf("a network in use was removed: %s", output)
		}
		m.nerdctl("rm", "-f", "web", "friend", "stranger", "both")
		mustEqual(t, "leases", append(leases(t, defaultDataDir, "bridge"), leases(t, defaultDataDir, "backend")...), []string{})
		mustEqual(t, "links", links(t, hostNetns), []string{"up0", "nerdctl0", "br-10e08a419e85"})
		m.nerdctl("network", "rm", "backend")
		mustEqual(t, "links", links(t, hostNetns), []string{"up0", "nerdctl0"})
		mustContain(t, runner(t, "network", "rm", "backend"), "removed the rules of network 'backend'") // which nerdctl knows nothing of
	})
}

// A network whose list names our plugins.
func TestNerdctlOnOurTypes(t *testing.T) {
	onNerdctlHost(t, func() { nerdctlNetwork(t, "bridge", "nerdctl0", "10.4.0.0/24") }, func(m *machine, outside string) {
		m.startContainer("web", "-p", "8080:80")
		fetchPage(t, "outside", "http://"+outside+":8080")
		mustContain(t, m.nerdctl("network", "inspect", "bridge"), `"IPv4Address": "10.4.0.2/24"`)
		m.nerdctl("rm", "-f", "web")
		mustEqual(t, "leases", leases(t, defaultDataDir, "bridge"), []string{})
		mustEqual(t, "links", links(t, hostNetns), []string{"up0", "nerdctl0"})
	})
}
