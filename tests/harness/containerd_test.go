package harness

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Debian's containerd and runc, unpacked: installed packages would start a service on the machine.
var containerdDir = fromEnvironment("SLICER_CONTAINERD_DIR", "../../build/containerd")

// machine is a host with containerd on it, in namespaces of its own: what it leaves behind ends with the test.
type machine struct {
	t       *testing.T
	folder  string
	cgroups string // below every controller, what this test makes
}

const (
	cniBin  = "/opt/cni/bin"
	cniConf = "/etc/cni/net.d"
	socket  = "/run/containerd/containerd.sock"
)

// onContainerHost runs body on a host with containerd, its plugins and the given conflist where they belong.
func onContainerHost(t *testing.T, file string, list []byte, body func(m *machine)) {
	t.Helper()
	inChild(t, syscall.CLONE_NEWPID, func() {
		prepareHost(t)
		m := newMachine(t)
		check(t, os.WriteFile(filepath.Join(cniConf, file), list, 0o644))
		m.start()
		body(m)
	})
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	if _, err := os.Stat(filepath.Join(containerdDir, "usr/bin/containerd")); err != nil {
		skip(t, "no containerd in "+containerdDir+": scripts/test unpacks Debian's there")
	}
	m := &machine{t: t, folder: t.TempDir(), cgroups: fmt.Sprintf("/slicer-test-%d", time.Now().UnixNano())}
	check(t, syscall.Mount("proc", "/proc", "proc", 0, "")) // of the new process namespace
	m.mountCgroups()
	check(t, syscall.Mount("tmpfs", "/opt", "tmpfs", 0, ""))
	for _, folder := range []string{cniBin, cniConf} {
		check(t, os.MkdirAll(folder, 0o755))
	}
	for _, folder := range []string{upstream, ours} {
		link(t, folder, cniBin)
	}
	t.Setenv("PATH", strings.Join([]string{
		filepath.Join(containerdDir, "usr/bin"), filepath.Join(containerdDir, "usr/sbin"), os.Getenv("PATH")}, ":"))
	return m
}

// link makes every program of one folder appear in another.
func link(t *testing.T, from, to string) {
	t.Helper()
	programs, err := os.ReadDir(from)
	check(t, err)
	for _, program := range programs {
		check(t, os.Symlink(filepath.Join(from, program.Name()), filepath.Join(to, program.Name())))
	}
}

// mountCgroups shows this machine's hierarchies, whichever version, below the new /sys.
func (m *machine) mountCgroups() {
	own, err := os.ReadFile("/proc/self/cgroup")
	check(m.t, err)
	if strings.HasPrefix(string(own), "0::") && strings.Count(string(own), "\n") == 1 {
		check(m.t, syscall.Mount("cgroup2", "/sys/fs/cgroup", "cgroup2", 0, ""))
	} else {
		check(m.t, syscall.Mount("tmpfs", "/sys/fs/cgroup", "tmpfs", 0, ""))
		for _, line := range strings.Fields(string(own)) {
			controllers := strings.Split(line, ":")[1]
			if controllers == "" {
				continue
			}
			folder := filepath.Join("/sys/fs/cgroup", strings.TrimPrefix(controllers, "name="))
			check(m.t, os.Mkdir(folder, 0o755))
			if err := syscall.Mount("cgroup", folder, "cgroup", 0, controllers); err != nil {
				skip(m.t, "this machine's cgroups cannot be mounted: "+err.Error())
			}
		}
	}
	m.t.Cleanup(m.removeCgroups)
}

// removeCgroups: they are the machine's, and end with no namespace.
func (m *machine) removeCgroups() {
	if os.Getpid() == 1 { // of a process namespace of its own: what is left in there after a failure ends first
		_ = syscall.Kill(-1, syscall.SIGKILL)
	}
	var folders []string
	_ = filepath.WalkDir("/sys/fs/cgroup", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() && strings.Contains(path, m.cgroups) {
			folders = append(folders, path)
		}
		return nil
	})
	for i := len(folders) - 1; i >= 0; i-- {
		eventually(m.t, "the cgroup is empty: "+folders[i], func() bool { return syscall.Rmdir(folders[i]) == nil })
	}
}

// hasCapability tells of CAP_SYS_RESOURCE and the like by their number (linux/capability.h).
func hasCapability(t *testing.T, number uint) bool {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	check(t, err)
	for _, line := range strings.Split(string(status), "\n") {
		if value, found := strings.CutPrefix(line, "CapEff:"); found {
			var set uint64
			_, err := fmt.Sscanf(strings.TrimSpace(value), "%x", &set)
			check(t, err)
			return set&(1<<number) != 0
		}
	}
	t.Fatal("no CapEff in /proc/self/status")
	return false
}

const capSysResource = 24

// major is containerd's version: 1 is Debian's, 2 the newest one's (build-containerd).
func (m *machine) major() int {
	m.t.Helper()
	fields := strings.Fields(must(m.t, "containerd", "--version"))
	var major int
	_, err := fmt.Sscanf(strings.TrimPrefix(fields[2], "v"), "%d.", &major)
	check(m.t, err)
	return major
}

// configuration is containerd's own: both of them find the networks in their default folder, the newer one the plugins
// in two. Without CAP_SYS_RESOURCE nobody may lower a process's oom_score_adj, which is what containerd does for a pod.
func (m *machine) configuration() string {
	m.t.Helper()
	root, restrict := filepath.Join(m.folder, "root"), !hasCapability(m.t, capSysResource)
	if m.major() == 1 {
		return fmt.Sprintf(`version = 2
root = %q
state = "/run/containerd"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = %q
  restrict_oom_score_adj = %v
`, root, imageName, restrict)
	}
	return fmt.Sprintf(`version = 3
root = %q
state = "/run/containerd"
[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = %q
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = %v
[plugins."io.containerd.cri.v1.runtime".cni]
  bin_dirs = [%q, %q]
  conf_dir = %q
`, root, imageName, restrict, ours, upstream, cniConf)
}

// start runs containerd with folders of its own, and imports the image.
func (m *machine) start() {
	m.t.Helper()
	config := m.configuration()
	file, logPath := filepath.Join(m.folder, "config.toml"), filepath.Join(m.folder, "log")
	check(m.t, os.WriteFile(file, []byte(config), 0o600))
	log, err := os.Create(logPath)
	check(m.t, err)
	daemon := exec.Command("containerd", "--config", file, "--log-level", "warn")
	daemon.Stdout, daemon.Stderr = log, log
	check(m.t, daemon.Start())
	m.t.Cleanup(func() {
		_ = daemon.Process.Signal(syscall.SIGTERM)
		_ = daemon.Wait()
		if text, err := os.ReadFile(logPath); err == nil && m.t.Failed() {
			m.t.Logf("containerd's log:\n%s", bytes.TrimSpace(text))
		}
	})
	eventually(m.t, "containerd answers", func() bool { return exec.Command("ctr", "version").Run() == nil })
	image := filepath.Join(m.folder, "image.tar")
	writeImage(m.t, image)
	must(m.t, "ctr", "--namespace", "default", "image", "import", image)
	must(m.t, "ctr", "--namespace", "k8s.io", "image", "import", image)
}

// ctr run --cni, as somebody tries out a network: the first file of /etc/cni/net.d.
func TestContainerdCtr(t *testing.T) {
	list, err := os.ReadFile(filepath.Join(conflist, "53-slicer-containers.conflist"))
	check(t, err)
	onContainerHost(t, "53-slicer-containers.conflist", list, func(m *machine) {
		output := must(t, "ctr", "run", "--rm", "--cni", "--cgroup", m.cgroups+"/one", imageName, "one", "/bin/sh", "-c",
			"ping -c 1 -W 2 10.73.8.1 && cat /proc/net/route && /bin/busybox ip addr show dev eth0")
		mustContain(t, output, "1 packets received")
		mustContain(t, output, "10.73.8.2/22")
		mustContain(t, output, "eth0\t00000000\t0108490A") // the default route, in /proc's byte order
		mustEqual(t, "leases", leases(t, defaultDataDir, "slicer-containers"), []string{})
		mustEqual(t, "links", links(t, hostNetns), []string{"slicer2"})
	})
}
