package harness

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
)

// A node is a runtime with many networks at once. libcni's caller must not let GC meet an ADD or DEL of that network
// (SPEC section 4, GC), so each network has a lock that GC alone takes whole.
type node struct {
	networks []*stressed
}

type stressed struct {
	*network
	modes []mode // the ways in which its attachments are made, in turns
	turn  sync.RWMutex

	mu    sync.Mutex
	alive map[types.GCAttachment]bool // what a GC would be told
	taken map[string]string           // address -> container ID
}

// newNode has every network of ours that gives addresses, and upstream's bridge with our IPAM.
func newNode(t *testing.T) *node {
	t.Helper()
	newLAN(t)
	n := &node{}
	for _, m := range modes {
		if m.consumer == aVMByDHCP {
			continue
		}
		list := m.configuration(t, "")
		if last := len(n.networks) - 1; last >= 0 && n.networks[last].list.Name == list["name"] {
			n.networks[last].modes = append(n.networks[last].modes, m)
			continue
		}
		n.networks = append(n.networks, newStressed(load(t, list), m))
	}
	foreign := upstreamBridge("slicer-ipam")
	plugin(foreign, 0)["ipam"].(object)["subnet"] = "192.0.2.0/24"
	n.networks = append(n.networks, newStressed(load(t, foreign), mode{ifname: "eth0", consumer: aContainer}))
	return n
}

func newStressed(n *network, m mode) *stressed {
	return &stressed{network: n, modes: []mode{m}, alive: map[types.GCAttachment]bool{}, taken: map[string]string{}}
}

func (s *stressed) add(rt *runtimeConf) error {
	s.turn.RLock()
	defer s.turn.RUnlock()
	result, err := s.tryAdd(rt)
	if err != nil {
		return fmt.Errorf("ADD %s on %s: %w", rt.ContainerID, s.list.Name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.alive[types.GCAttachment{ContainerID: rt.ContainerID, IfName: rt.IfName}] = true
	return s.take(rt, result)
}

func (s *stressed) take(rt *runtimeConf, result *types100.Result) error {
	if len(result.IPs) != 1 {
		return fmt.Errorf("ADD %s on %s: %d addresses", rt.ContainerID, s.list.Name, len(result.IPs))
	}
	address := result.IPs[0].Address.IP.String()
	if other, double := s.taken[address]; double {
		return fmt.Errorf("network %s gave %s to %s while %s had it", s.list.Name, address, rt.ContainerID, other)
	}
	s.taken[address] = rt.ContainerID
	return nil
}

// forget is what a DEL or a GC frees; before it begins, because the address may be another's before it ends.
func (s *stressed) forget(rt *runtimeConf) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.alive, types.GCAttachment{ContainerID: rt.ContainerID, IfName: rt.IfName})
	for address, id := range s.taken {
		if id == rt.ContainerID {
			delete(s.taken, address)
		}
	}
}

func (s *stressed) del(t *testing.T, rt *runtimeConf) error {
	s.turn.RLock()
	defer s.turn.RUnlock()
	s.forget(rt)
	if err := s.cni.DelNetworkList(t.Context(), s.list, rt); err != nil {
		return fmt.Errorf("DEL %s on %s: %w", rt.ContainerID, s.list.Name, err)
	}
	return nil
}

// collect keeps everybody that is alive but `lost`, which in networks of ours not even libcni's cache knows any more;
// upstream's have nothing to find it by, so there libcni makes a DEL of it.
func (s *stressed) collect(t *testing.T, lost *runtimeConf) error {
	s.turn.Lock()
	defer s.turn.Unlock()
	if lost != nil {
		s.forget(lost)
		if strings.HasPrefix(s.list.Plugins[0].Network.Type, "slicer-") {
			_ = os.Remove(fmt.Sprintf("/var/lib/cni/results/%s-%s-%s", s.list.Name, lost.ContainerID, lost.IfName))
		}
	}
	args := libcni.GCArgs{ValidAttachments: []types.GCAttachment{}}
	for one := range s.alive {
		args.ValidAttachments = append(args.ValidAttachments, one)
	}
	if err := s.cni.GCNetworkList(t.Context(), s.list, &args); err != nil {
		return fmt.Errorf("GC of %s: %w", s.list.Name, err)
	}
	return nil
}

// Pairs of ADD and DEL over all networks at once, a window of attachments open in every goroutine, GC in between that
// also takes back what some of them forget: no error, no address twice, and nothing left in the end that was not there
// after each network's first pair.
func TestStress(t *testing.T) {
	onOwnHost(t, func() {
		const workers, window, pairs = 16, 3, 500
		n := newNode(t)
		for worker := range workers {
			for slot := range window {
				newNetns(t, fmt.Sprintf("w%d-%d", worker, slot))
			}
		}
		for i, s := range n.networks { // makes what a network keeps
			rt := s.at(fmt.Sprint("first-", i), "w0-0", 0)
			check(t, s.add(rt))
			check(t, s.del(t, rt))
		}
		before := hostFacts(t)
		errors := n.run(t, workers, window, pairs)
		for i, err := range errors {
			if i < 5 {
				t.Error(err)
			}
		}
		if len(errors) > 0 {
			t.Fatalf("%d errors in %d pairs", len(errors), pairs)
		}
		for _, s := range n.networks {
			check(t, s.collect(t, nil))
			mustEqual(t, "addresses of "+s.list.Name, len(s.taken), 0)
		}
		for deadline := time.Now().Add(5 * time.Second); hostFacts(t) != before; {
			if time.Now().After(deadline) { // links go a little after a DEL returns
				t.Fatalf("the host is not as it was before:\n%s", difference(t, before, hostFacts(t)))
			}
		}
	})
}

func (s *stressed) at(id, netns string, number int) *runtimeConf {
	m := s.modes[number%len(s.modes)]
	if m.host {
		return at(id, hostNetns, fmt.Sprint("vmtap", number))
	}
	return at(id, "/run/netns/"+netns, m.ifname)
}

func (n *node) run(t *testing.T, workers, window, pairs int) []error {
	var wait sync.WaitGroup
	var mu sync.Mutex
	var errors []error
	fail := func(err error) {
		if err != nil {
			mu.Lock()
			errors = append(errors, err)
			mu.Unlock()
		}
	}
	for worker := range workers {
		wait.Add(1)
		go func() {
			defer wait.Done()
			n.work(t, worker, window, pairs/workers+1, fail)
		}()
	}
	wait.Wait()
	return errors
}

type attached struct {
	s  *stressed
	rt *runtimeConf
}

// work is one goroutine's part: every 16th attachment is left behind for GC.
func (n *node) work(t *testing.T, worker, window, pairs int, fail func(error)) {
	open := make([]*attached, window)
	for i := range pairs + window {
		slot := i % window
		if old := open[slot]; old != nil {
			if (i+worker)%16 == 0 {
				fail(old.s.collect(t, old.rt))
			} else {
				fail(old.s.del(t, old.rt))
			}
			open[slot] = nil
		}
		if i >= pairs {
			continue
		}
		s := n.networks[(i+worker)%len(n.networks)]
		rt := s.at(fmt.Sprintf("c%d-%d", worker, i), fmt.Sprintf("w%d-%d", worker, slot), worker*window+slot)
		fail(s.add(rt))
		open[slot] = &attached{s, rt}
	}
}

// volatile is what the kernel changes by itself: counters, timers, carriers, duplicate address detection.
var volatile = regexp.MustCompile(`counter packets \d+ bytes \d+|(valid_lft|preferred_lft) \S+|# handle \d+|state \w+|NO-CARRIER,|,LOWER_UP| qlen \d+| linkdown`)

// hostFacts is everything in which an attachment could leave a trace.
func hostFacts(t *testing.T) string {
	t.Helper()
	script := `ip -o link | sed 's/^[0-9]*: //;s/@if[0-9]*//' | sort; ip -o addr | sed 's/^[0-9]*: //' | sort
		ip route show table all | sort; ip -6 route show table all | sort; ip neigh show nud permanent | sort; ip neigh show proxy; bridge fdb | sort
		nft list ruleset; iptables-legacy-save | grep -v '^[#:]'
		find /run/slicer /var/lib/cni -type f ! -name .index ! -name 'last_reserved_ip*' | sort
		for ns in /run/netns/*; do [ $ns = /run/netns/host ] && continue; echo $ns; ip -n ${ns##*/} -o link | grep -v ' lo:'
			ip -n ${ns##*/} route; nsenter --net=$ns nft list ruleset; done; true`
	if _, err := exec.LookPath("iptables-legacy-save"); err != nil {
		script = strings.Replace(script, "iptables-legacy-save", "true", 1)
	}
	output, err := exec.Command("bash", "-c", script).CombinedOutput()
	check(t, err)
	text := volatile.ReplaceAllString(string(output), "")
	return regexp.MustCompile(`(?m)^.*(fe80|ff00|33:33).*\n`).ReplaceAllString(text, "") // come with the carrier
}

func difference(t *testing.T, before, after string) string {
	t.Helper()
	folder := t.TempDir()
	check(t, os.WriteFile(filepath.Join(folder, "before"), []byte(before), 0o600))
	check(t, os.WriteFile(filepath.Join(folder, "after"), []byte(after), 0o600))
	output, _ := exec.Command("diff", "-U0", filepath.Join(folder, "before"), filepath.Join(folder, "after")).Output()
	return string(output)
}
