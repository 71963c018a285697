// Package harness drives the plugins as real CNI runtimes do: by libcni, and by cnitool from the command line, beside
// upstream's plugins. Every test has a host of its own: a process in new network and mount namespaces.
package harness

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Where things are; scripts/test runs the harness in tests/harness.
var (
	ours     = fromEnvironment("SLICER_BIN_DIR", "../../build/debug/bin")
	upstream = fromEnvironment("SLICER_UPSTREAM_DIR", "../../build/harness/bin")
	conflist = fromEnvironment("SLICER_CONFLIST_DIR", "../../conflist")
)

func fromEnvironment(name, fallback string) string {
	value := os.Getenv(name)
	if value == "" {
		value = fallback
	}
	path, err := filepath.Abs(value)
	if err != nil {
		panic(err)
	}
	return path
}

const childMark = "SLICER_HARNESS_CHILD"

// onOwnHost runs body in a process of its own whose network and mount namespaces are new: a host that nobody else uses.
// The calling test is started again there, so body may use goroutines and children freely.
func onOwnHost(t *testing.T, body func()) {
	t.Helper()
	inChild(t, 0, func() {
		prepareHost(t)
		body()
	})
}

// inChild starts the calling test again in new network and mount namespaces, and further ones that `flags` name.
func inChild(t *testing.T, flags uintptr, body func()) {
	t.Helper()
	if os.Getenv(childMark) == t.Name() {
		body()
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	parts := strings.Split(t.Name(), "/")
	for i, part := range parts {
		parts[i] = "^" + regexp.QuoteMeta(part) + "$"
	}
	child := exec.Command("/proc/self/exe", "-test.v", "-test.timeout=120s", "-test.run="+strings.Join(parts, "/"))
	child.Env = append(os.Environ(), childMark+"="+t.Name())
	child.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | flags, Pdeathsig: syscall.SIGKILL}
	output, err := child.CombinedOutput()
	if reason := regexp.MustCompile(`(?m)^\s+\S+_test.go:\d+: SKIPPED: (.*)$`).FindSubmatch(output); reason != nil {
		t.Skip(string(reason[1]))
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
}

func skip(t *testing.T, reason string) {
	t.Helper()
	t.Skip("SKIPPED: " + reason)
}

func prepareHost(t *testing.T) {
	t.Helper()
	for _, folder := range []string{"/var/lib/cni", "/etc/cni"} { // mount points
		check(t, os.MkdirAll(folder, 0o755))
	}
	check(t, syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""))
	for _, folder := range []string{"/run", "/var/lib/cni", "/etc/cni"} {
		check(t, syscall.Mount("tmpfs", folder, "tmpfs", 0, ""))
	}
	check(t, syscall.Mount("sysfs", "/sys", "sysfs", 0, ""))
	check(t, os.MkdirAll("/run/netns", 0o755))
	must(t, "ip", "link", "set", "lo", "up")
	bindNetns(t, "host")
}

// bindNetns gives the namespace of this process a path, as a runtime would for "the host's".
func bindNetns(t *testing.T, name string) string {
	t.Helper()
	path := "/run/netns/" + name
	check(t, os.WriteFile(path, nil, 0o644))
	check(t, syscall.Mount("/proc/self/ns/net", path, "", syscall.MS_BIND, ""))
	return path
}

const hostNetns = "/run/netns/host"

// newNetns makes a named namespace, a sandbox for one attachment.
func newNetns(t *testing.T, name string) string {
	t.Helper()
	must(t, "ip", "netns", "add", name)
	return "/run/netns/" + name
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// must runs a program and returns its stdout.
func must(t *testing.T, argv ...string) string {
	t.Helper()
	output, err := exec.Command(argv[0], argv[1:]...).Output()
	if err != nil {
		stderr := ""
		if exit, ok := err.(*exec.ExitError); ok {
			stderr = string(exit.Stderr)
		}
		t.Fatalf("%s: %v\n%s%s", strings.Join(argv, " "), err, output, stderr)
	}
	return string(output)
}

// eventually waits for a condition that another process brings about.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if holds() {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within 5 s: %s", what)
		}
	}
}

// links lists the interfaces of a namespace but lo, with their peers cut off.
func links(t *testing.T, netns string) []string {
	t.Helper()
	var names []string
	for _, line := range strings.Split(must(t, "ip", "-n", filepath.Base(netns), "-o", "link"), "\n") {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		name, _, _ := strings.Cut(strings.TrimSuffix(fields[1], ":"), "@")
		if name != "lo" {
			names = append(names, name)
		}
	}
	return names
}

// leases lists the allocation files of a network.
func leases(t *testing.T, dataDir, network string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(dataDir, network))
	if os.IsNotExist(err) {
		return nil
	}
	check(t, err)
	var names []string
	for _, entry := range entries {
		if strings.ContainsAny(entry.Name(), ".:") && !strings.HasPrefix(entry.Name(), "last_reserved_ip") {
			names = append(names, entry.Name())
		}
	}
	return names
}

const defaultDataDir = "/var/lib/cni/networks"

func mustContain(t *testing.T, text, part string) {
	t.Helper()
	if !strings.Contains(text, part) {
		t.Fatalf("%q is not in:\n%s", part, text)
	}
}

func mustEqual(t *testing.T, what string, got, want any) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("%s: got %v, want %v", what, got, want)
	}
}
