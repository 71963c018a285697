package harness

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/godbus/dbus/v5"
)

// Debian's firewalld, unpacked: an installed one would take the machine's firewall over.
var firewalldDir = fromEnvironment("SLICER_FIREWALLD_DIR", "../../build/firewalld")

const busConfig = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path=/run/dbus/system_bus_socket</listen>
  <auth>EXTERNAL</auth>
  <policy context="default"><allow user="*"/><allow own="*"/><allow send_destination="*"/><allow receive_sender="*"/></policy>
</busconfig>
`

// firewalld is a real one, on a system bus of its own, with its package laid over /usr and /etc.
type firewalld struct {
	t      *testing.T
	daemon *exec.Cmd
	bus    *dbus.Conn // firewall-cmd does the same in a third of a second
}

const (
	firewalldPath = "/org/fedoraproject/FirewallD1"
	firewalldName = "org.fedoraproject.FirewallD1"
)

// tryCall calls a method; what it answers goes to `answer`, unless that is nil.
func (f *firewalld) tryCall(path, method string, answer any, arguments ...any) error {
	call := f.bus.Object(firewalldName, dbus.ObjectPath(path)).Call(firewalldName+method, 0, arguments...)
	if call.Err != nil || answer == nil {
		return call.Err
	}
	return call.Store(answer)
}

func (f *firewalld) call(path, method string, answer any, arguments ...any) {
	f.t.Helper()
	check(f.t, f.tryCall(path, method, answer, arguments...))
}

func (f *firewalld) reload() {
	f.t.Helper()
	f.call(firewalldPath, ".reload", nil)
}

// remove takes a source out of a zone behind the plugin's back.
func (f *firewalld) remove(zone, source string) {
	f.t.Helper()
	f.call(firewalldPath, ".zone.removeSource", nil, zone, source)
}

func onFirewalldHost(t *testing.T, body func(f *firewalld)) {
	t.Helper()
	onOwnHost(t, func() {
		if _, err := os.Stat(filepath.Join(firewalldDir, "usr/sbin/firewalld")); err != nil {
			skip(t, "no firewalld in "+firewalldDir+": scripts/test unpacks Debian's there")
		}
		for _, folder := range []string{"/run/dbus", "/run/over/etc", "/run/over/work", "/run/over/state"} {
			check(t, os.MkdirAll(folder, 0o755))
		}
		overlay(t, "/usr", "lowerdir="+firewalldDir+"/usr:/usr")
		overlay(t, "/etc", "lowerdir="+firewalldDir+"/etc:/etc,upperdir=/run/over/etc,workdir=/run/over/work")
		check(t, os.MkdirAll("/var/lib/slicer", 0o755))
		check(t, syscall.Mount("tmpfs", "/var/lib/slicer", "tmpfs", 0, ""))
		check(t, os.WriteFile("/run/bus.conf", []byte(busConfig), 0o644))
		background(t, "dbus-daemon", "--config-file=/run/bus.conf", "--nofork", "--nopidfile")
		f := &firewalld{t: t}
		eventually(t, "the bus answers", func() bool {
			bus, err := dbus.Connect("unix:path=/run/dbus/system_bus_socket")
			f.bus = bus
			return err == nil
		})
		f.start()
		body(f)
	})
}

func overlay(t *testing.T, target, options string) {
	t.Helper()
	if err := syscall.Mount("overlay", target, "overlay", 0, options); err != nil {
		skip(t, "firewalld cannot be laid over "+target+": "+err.Error())
	}
}

func background(t *testing.T, argv ...string) *exec.Cmd {
	t.Helper()
	program := exec.Command(argv[0], argv[1:]...)
	program.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	check(t, program.Start())
	t.Cleanup(func() {
		_ = program.Process.Kill()
		_ = program.Wait()
	})
	return program
}

func (f *firewalld) start() {
	f.t.Helper()
	f.daemon = background(f.t, "/usr/sbin/firewalld", "--nofork", "--nopid")
	eventually(f.t, "firewalld answers", func() bool {
		return f.tryCall(firewalldPath, ".zone.getZones", nil) == nil
	})
}

func (f *firewalld) stop() {
	check(f.t, f.daemon.Process.Signal(syscall.SIGTERM))
	_ = f.daemon.Wait()
}

// sources of a zone, in force and permanent.
func (f *firewalld) sources(zone string) (now, kept string) {
	f.t.Helper()
	var inForce, permanent []string
	f.call(firewalldPath, ".zone.getSources", &inForce, zone)
	var object dbus.ObjectPath
	f.call(firewalldPath+"/config", ".config.getZoneByName", &object, zone)
	f.call(string(object), ".config.zone.getSources", &permanent)
	slices.Sort(inForce)
	slices.Sort(permanent)
	return strings.Join(inForce, " "), strings.Join(permanent, " ")
}

func (f *firewalld) mustHave(zone, want string) {
	f.t.Helper()
	now, kept := f.sources(zone)
	mustEqual(f.t, "sources of "+zone, now, want)
	mustEqual(f.t, "permanent sources of "+zone, kept, want)
}

func firewalldNetwork(t *testing.T, zone string) *network {
	t.Helper()
	list := shipped(t, "51-slicer.conflist")
	delete(list, "disableGC")
	plugin(list, 1)["backend"] = "firewalld"
	if zone != "" {
		plugin(list, 1)["firewalldZone"] = zone
	}
	return load(t, list)
}

// The VM's addresses are sources of the trusted zone, or of the one that the configuration names, for as long as the VM
// is attached; a reload changes nothing.
func TestFirewalldZone(t *testing.T) {
	onFirewalldHost(t, func(f *firewalld) {
		n := firewalldNetwork(t, "")
		check(t, n.status())
		one, two := at("one", hostNetns, "vmtap0"), at("two", hostNetns, "vmtap1")
		n.add(one)
		n.add(two)
		f.mustHave("trusted", "10.73.0.2/32 10.73.0.3/32")
		check(t, n.tryCheck(one))

		f.reload()
		f.mustHave("trusted", "10.73.0.2/32 10.73.0.3/32")
		check(t, n.tryCheck(one))

		f.remove("trusted", "10.73.0.2/32")
		err := n.tryCheck(one)
		if err == nil {
			t.Fatal("CHECK passes though the address is in no zone")
		}
		mustContain(t, err.Error(), "check zone 'trusted' of firewalld: '10.73.0.2/32' is not a source of it")
		check(t, n.tryCheck(two))

		n.del(one)
		n.del(one)
		f.mustHave("trusted", "10.73.0.3/32")
		must(t, "rm", "-rf", "/var/lib/cni/results") // only the plugins know of the other
		n.gc()
		f.mustHave("trusted", "")

		named := firewalldNetwork(t, "work")
		named.add(one)
		f.mustHave("work", "10.73.0.4/32")
		f.mustHave("trusted", "")
		// What is permanent of a boot before this one goes with the next ADD.
		records, err := os.ReadDir("/var/lib/slicer/firewalld")
		check(t, err)
		check(t, os.Rename("/var/lib/slicer/firewalld/"+records[0].Name(), "/var/lib/slicer/firewalld/earlier-boot"))
		named.add(two)
		f.mustHave("work", named.addressOf(two)+"/32")
		named.del(two)
		f.mustHave("work", "")
	})
}

// Traffic: firewalld's public zone rejects what the host forwards, the trusted one does not.
func TestFirewalldLetsTrafficThrough(t *testing.T) {
	onFirewalldHost(t, func(f *firewalld) {
		newOutside(t)
		list := shipped(t, "53-slicer-containers.conflist")
		plugin(list, 1)["backend"] = "firewalld"
		n := load(t, list)
		rt := at("c", newNetns(t, "c"), "eth0")
		n.add(rt)
		ping := []string{"netns", "exec", "c", "ping", "-c", "1", "-W", "1", "198.51.100.7"}
		must(t, append([]string{"ip"}, ping...)...)
		f.reload()
		must(t, append([]string{"ip"}, ping...)...)
		f.remove("trusted", "10.73.8.2/32")
		if exec.Command("ip", ping...).Run() == nil {
			t.Fatal("the test sees nothing: the packets pass without the zone, too")
		}
		n.del(rt)
		f.mustHave("trusted", "")
	})
}

// What cannot be done says so, and leaves nothing.
func TestFirewalldRefusals(t *testing.T) {
	onFirewalldHost(t, func(f *firewalld) {
		rt, other := at("one", hostNetns, "vmtap0"), at("other", hostNetns, "vmtap1")
		mustFail := func(n *network, number uint, text string) {
			t.Helper()
			before := len(leases(t, defaultDataDir, "slicer"))
			_, err := n.tryAdd(other)
			if err == nil {
				t.Fatal("ADD succeeded; want: " + text)
			}
			mustContain(t, err.Error(), text)
			mustEqual(t, "code", code(err), number)
			n.del(other)
			mustEqual(t, "leases", len(leases(t, defaultDataDir, "slicer")), before)
		}
		mustFail(firewalldNetwork(t, "nowhere"), 7, "\"firewalldZone\": firewalld has no zone 'nowhere'")
		f.call(firewalldPath, ".zone.addSource", nil, "public", "10.73.0.3/32")
		mustFail(firewalldNetwork(t, ""), 102, "put '10.73.0.3/32' into zone 'trusted' of firewalld: ZONE_CONFLICT")
		f.mustHave("trusted", "")

		n := firewalldNetwork(t, "")
		n.add(rt)
		f.mustHave("trusted", "10.73.0.4/32")
		f.stop()
		mustFail(n, 50, "reach firewalld on D-Bus")
		if err := n.status(); code(err) != 50 {
			t.Fatalf("STATUS without firewalld: %v", err)
		}
		n.del(rt) // succeeds, and leaves what is permanent to the next call
		f.start()
		f.mustHave("trusted", "10.73.0.4/32")
		n.add(other)
		f.mustHave("trusted", n.addressOf(other)+"/32")
		n.del(other)
		f.mustHave("trusted", "")
	})
}

// Installed under the name of upstream's plugin, ours takes firewalld where it runs, as that one does.
func TestFirewalldByUpstreamsName(t *testing.T) {
	onFirewalldHost(t, func(f *firewalld) {
		programs := t.TempDir()
		check(t, os.Symlink(filepath.Join(ours, "slicer-firewall"), filepath.Join(programs, "firewall")))
		list := shipped(t, "51-slicer.conflist")
		plugin(list, 1)["type"] = "firewall"
		n := load(t, list, programs)
		rt := at("one", hostNetns, "vmtap0")
		n.add(rt)
		f.mustHave("trusted", "10.73.0.2/32")
		check(t, n.tryCheck(rt))
		n.del(rt)
		f.mustHave("trusted", "")
		f.stop()
		n.add(rt) // nor does it miss firewalld
		check(t, n.tryCheck(rt))
		n.del(rt)
	})
}

// Either plugin takes back what the other put into the zone.
func TestFirewalldTakenOverFromUpstream(t *testing.T) {
	onFirewalldHost(t, func(f *firewalld) {
		list := shipped(t, "53-slicer-containers.conflist")
		plugin(list, 1)["backend"] = "firewalld"
		n := load(t, list)
		install(t, list)
		plugin(list, 1)["type"] = "firewall"
		theirs := load(t, list)
		rt := at("c", newNetns(t, "c"), "eth0")
		theirs.add(rt)
		now, _ := f.sources("trusted")
		mustEqual(t, "upstream's source", now, "10.73.8.2/32")
		runner(t, "network", "reload", "slicer-containers")
		check(t, n.tryCheck(rt))
		n.gc(types.GCAttachment{ContainerID: "c", IfName: "eth0"})
		n.del(rt)
		f.mustHave("trusted", "")
		n.add(rt)
		check(t, theirs.tryCheck(rt))
		theirs.del(rt)
		now, _ = f.sources("trusted")
		mustEqual(t, "after upstream's DEL", now, "")
	})
}
