package harness

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strings"
	"testing"
)

// What differs on purpose between a container of upstream's bridge and one of ours, as a pattern of the lines below.
var twinDiffers = regexp.MustCompile(strings.Join([]string{
	`^sysctl net/ipv6/conf/eth0/ndisc_notify `, // ours announces IPv6 addresses, too
	`^sysctl net/ipv6/conf/eth0/stable_secret`, // no value
}, "|"))

// Names and MAC addresses of the links, whoever chose them.
var (
	twinMac  = regexp.MustCompile(`([0-9a-f]{2}:){5}[0-9a-f]{2}`)
	twinMtu  = regexp.MustCompile(`"mtu":[0-9]+,`) // of interfaces, since 1.1.0: upstream's plugin leaves it out
	twinVeth = regexp.MustCompile(`"(veth|sl)[0-9a-z]{8,}"`)
)

func jsonLines(t *testing.T, what, text string, keys ...string) []string {
	t.Helper()
	var items []object
	if strings.TrimSpace(text) != "" {
		check(t, json.Unmarshal([]byte(text), &items))
	}
	var lines []string
	for _, item := range items {
		line := what
		for _, key := range keys {
			if value, there := item[key]; there {
				line += fmt.Sprintf(" %s=%v", key, value)
			}
		}
		lines = append(lines, line)
	}
	return lines
}

// twinState tells what the kernel has of one container: its link, addresses, routes and settings, and the bridge's port.
func twinState(t *testing.T, name, bridge string) []string {
	t.Helper()
	links := must(t, "ip", "-n", name, "-j", "addr", "show", "eth0")
	lines := jsonLines(t, "link", links, "mtu", "operstate", "flags", "txqlen")
	var parsed []struct {
		Addresses []object `json:"addr_info"`
	}
	check(t, json.Unmarshal([]byte(links), &parsed))
	addresses, err := json.Marshal(parsed[0].Addresses)
	check(t, err)
	eventually(t, "the kernel's own routes to the IPv6 addresses are there", func() bool { // a worker of its makes them
		routes := must(t, "ip", "-n", name, "-6", "route", "show", "table", "local")
		return !slices.ContainsFunc(parsed[0].Addresses, func(address object) bool {
			local := address["local"].(string)
			return strings.Contains(local, ":") && !strings.HasPrefix(local, "fe80:") && !strings.Contains(routes, "local "+local+" ")
		})
	})
	lines = append(lines, jsonLines(t, "address", string(addresses), "family", "local", "prefixlen", "broadcast", "scope", "tentative")...)
	for _, family := range []string{"-4", "-6"} {
		lines = append(lines, jsonLines(t, "route", must(t, "ip", "-n", name, "-j", family, "route", "show", "table", "all"),
			"type", "dst", "gateway", "dev", "table", "scope", "prefsrc", "metric")...)
	}
	for _, setting := range strings.Split(must(t, "ip", "netns", "exec", name, "grep", "-r", ".", "/proc/sys/net/ipv4/conf/eth0",
		"/proc/sys/net/ipv6/conf/eth0", "/proc/sys/net/ipv6/conf/lo", "--exclude=stable_secret"), "\n") {
		key, value, _ := strings.Cut(strings.TrimPrefix(setting, "/proc/sys/"), ":")
		lines = append(lines, "sysctl "+key+" "+value)
	}
	lines = append(lines, jsonLines(t, "bridge", must(t, "ip", "-j", "addr", "show", bridge), "mtu", "flags", "operstate")...)
	check(t, json.Unmarshal([]byte(must(t, "ip", "-j", "addr", "show", bridge)), &parsed))
	addresses, err = json.Marshal(parsed[0].Addresses)
	check(t, err)
	lines = append(lines, jsonLines(t, "gateway", string(addresses), "family", "local", "prefixlen", "broadcast", "scope")...)
	lines = append(lines, jsonLines(t, "port", must(t, "bridge", "-j", "-d", "link", "show"), "master", "mtu", "state", "hairpin",
		"isolated", "learning", "flood", "mcast_flood", "bcast_flood", "neigh_suppress")...)
	lines = slices.DeleteFunc(lines, func(line string) bool { return strings.Contains(line, "fe80:") || twinDiffers.MatchString(line) })
	sort.Strings(lines)
	return lines
}

// twinLeases: the files of host-local's directory, and what is in them.
func twinLeases(t *testing.T, folder string) []string {
	t.Helper()
	var lines []string
	files, err := filepath.Glob(filepath.Join(folder, "*"))
	check(t, err)
	for _, file := range files {
		if text, err := os.ReadFile(file); err == nil {
			lines = append(lines, fmt.Sprintf("lease %s %q", filepath.Base(file), text))
		}
	}
	return lines
}

// twinNames are the containers of a network; duplicate address detection takes each its time.
func twinNames(conf object) []string {
	if conf["enabledad"] == true {
		return []string{"one"}
	}
	return []string{"one", "two"}
}

// twinRun adds containers to a network of one suite and tells all that came of it.
func twinRun(t *testing.T, s suite, conf object, ips []string, sysctl string) (seen []string) {
	t.Helper()
	text, err := json.Marshal(conf)
	check(t, err)
	var bridge object // a copy
	check(t, json.Unmarshal(text, &bridge))
	data := t.TempDir()
	bridge["type"], bridge["bridge"] = s.bridge, "twin0"
	if s == slicers {
		bridge["device"] = "veth"
	}
	if ipam, there := bridge["ipam"].(object); there {
		ipam["type"], ipam["dataDir"] = s.ipam, data
	}
	bridge["capabilities"] = object{"ips": true}
	version := bridge["cniVersion"]
	if version == nil {
		version = "1.1.0"
	}
	n := load(t, object{"cniVersion": version, "name": "twin", "plugins": []any{bridge}})
	for _, name := range twinNames(conf) {
		rt := at("id-"+name, newNetns(t, name), "eth0")
		if sysctl != "" {
			must(t, "ip", "netns", "exec", name, "sysctl", "-q", "-w", sysctl)
		}
		if name == "one" && ips != nil {
			rt.CapabilityArgs = object{"ips": ips}
		}
		result, err := n.cni.AddNetworkList(t.Context(), n.list, rt)
		if err != nil {
			seen = append(seen, "no result for "+name)
			continue
		}
		text, err := json.Marshal(result)
		check(t, err)
		plain := twinMtu.ReplaceAllString(twinMac.ReplaceAllString(string(text), "MAC"), "")
		seen = append(seen, "result "+twinVeth.ReplaceAllString(plain, `"VETH"`))
		seen = append(seen, twinState(t, name, "twin0")...)
	}
	seen = append(seen, twinLeases(t, filepath.Join(data, "twin"))...)
	for _, name := range twinNames(conf) {
		n.del(at("id-"+name, "/run/netns/"+name, "eth0"))
		must(t, "ip", "netns", "del", name)
	}
	seen = append(seen, twinLeases(t, filepath.Join(data, "twin"))...)
	eventually(t, "the ports are gone", func() bool { return len(links(t, hostNetns)) <= 1 })
	for _, bridge := range links(t, hostNetns) { // an ADD of ours that failed leaves none
		must(t, "ip", "link", "del", bridge)
	}
	return seen
}

// The same configuration under upstream's bridge and host-local, and under ours: the same result, interface, addresses,
// routes, settings and port, and the same files.
func TestTwinOfUpstreamsBridge(t *testing.T) {
	dual := []any{[]any{object{"subnet": "192.0.2.0/24"}}, []any{object{"subnet": "2001:db8:1::/64"}}}
	ipam := func(ranges []any, routes ...any) object { return object{"ranges": ranges, "routes": routes} }
	four, six := object{"dst": "0.0.0.0/0"}, object{"dst": "::/0"}
	rows := []struct {
		name string
		conf object
		ips  []string
		// sysctl is set in the containers' namespaces before.
		sysctl string
	}{
		{"gateway", object{"isGateway": true, "ipam": ipam(dual, four, six)}, nil, ""},
		{"0.2.0", object{"cniVersion": "0.2.0", "isGateway": true, "ipam": ipam(dual, four, six)}, nil, ""},
		{"0.4.0", object{"cniVersion": "0.4.0", "isGateway": true, "ipam": ipam(dual, four, six)}, nil, ""},
		{"default gateway", object{"isDefaultGateway": true, "ipam": ipam(dual)}, nil, ""},
		{"default gateway beside a route", object{"isDefaultGateway": true, "ipam": ipam(dual[:1],
			object{"dst": "0.0.0.0/0", "gw": "192.0.2.9"})}, nil, ""},
		{"no gateway", object{"ipam": ipam(dual, four)}, nil, ""},
		{"mtu", object{"mtu": 1400, "isGateway": true, "ipam": ipam(dual, four)}, nil, ""},
		{"hairpin and isolated", object{"hairpinMode": true, "portIsolation": true, "isGateway": true, "ipam": ipam(dual, four)}, nil, ""},
		{"promiscuous", object{"promiscMode": true, "isGateway": true, "ipam": ipam(dual, four)}, nil, ""},
		{"duplicate address detection", object{"enabledad": true, "isGateway": true, "ipam": ipam(dual, four, six)}, nil, ""},
		{"layer 2", object{"dns": object{"nameservers": []any{"192.0.2.53"}}}, nil, ""},
		{"an interface that stays down", object{"disableContainerInterface": true}, nil, ""},
		{"routes", object{"isGateway": true, "ipam": ipam(dual, object{"dst": "198.51.100.0/24", "gw": "192.0.2.7", "priority": 50},
			object{"dst": "2001:db8:2::/64", "gw": "2001:db8:1::7"})}, nil, ""},
		{"addresses asked for", object{"isGateway": true, "ipam": ipam(dual, four)}, []string{"2001:db8:1::77/64", "192.0.2.77"}, ""},
		{"part of a subnet", object{"isGateway": true, "ipam": object{"subnet": "192.0.2.0/24", "rangeStart": "192.0.2.1",
			"rangeEnd": "192.0.2.3", "gateway": "192.0.2.2"}}, nil, ""},
		{"two ranges in a set", object{"ipam": ipam([]any{[]any{object{"subnet": "192.0.2.0/30"}, object{"subnet": "198.51.100.8/29"}}})}, nil, ""},
		{"keys in any case", object{"isgateway": true, "HairpinMode": true, "MTU": 1400, "ipam": object{"SUBNET": "192.0.2.0/24",
			"routes": []any{object{"Dst": "0.0.0.0/0"}}, "rangestart": "192.0.2.9"}}, nil, ""},
		{"a namespace without IPv6", object{"isGateway": true, "ipam": ipam(dual, four, six)}, nil, "net.ipv6.conf.all.disable_ipv6=1"},
		{"a default route twice", object{"isDefaultGateway": true, "ipam": ipam(dual, four)}, nil, ""},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			onOwnHost(t, func() {
				theirs := twinRun(t, upstreams, row.conf, row.ips, row.sysctl)
				mine := twinRun(t, slicers, row.conf, row.ips, row.sysctl)
				for _, line := range theirs {
					if !slices.Contains(mine, line) {
						t.Errorf("upstream's alone: %s", line)
					}
				}
				for _, line := range mine {
					if !slices.Contains(theirs, line) {
						t.Errorf("ours alone: %s", line)
					}
				}
			})
		})
	}
}

// twinRange is a random set of one range. Left out is what ours refuses: the subnet's first and last address, which
// upstream's gives when a range begins or ends there.
func twinRange(random *rand.Rand, v6 bool) []any {
	subnet, host := fmt.Sprintf("192.0.2.%d/28", 16*random.IntN(16)), "192.0.2.%d"
	if v6 {
		subnet, host = "2001:db8:1::/124", "2001:db8:1::%x"
	}
	base := 0
	if !v6 {
		fmt.Sscanf(subnet, "192.0.2.%d/28", &base)
	}
	at := func(offset int) string { return fmt.Sprintf(host, base+offset) }
	one := object{"subnet": subnet}
	if random.IntN(2) == 0 {
		one["rangeStart"] = at(1 + random.IntN(5))
	}
	if random.IntN(2) == 0 {
		one["rangeEnd"] = at(11 + random.IntN(4))
	}
	if random.IntN(2) == 0 {
		one["gateway"] = at(1 + random.IntN(14))
	}
	return []any{one}
}

// Random sequences of ADD, DEL and CHECK on host-local and slicer-ipam: the same answers, addresses and files. (Not
// after an ADD that failed half way: upstream's has moved on in the sets that had an address. Neither is asked for that.)
func TestTwinOfHostLocal(t *testing.T) {
	onOwnHost(t, func() {
		for seed := range uint64(25) {
			random := rand.New(rand.NewPCG(seed, 7))
			ranges := []any{twinRange(random, false)}
			if random.IntN(2) == 0 {
				ranges = append(ranges, twinRange(random, true))
			}
			var twins []*network
			var folders []string
			for _, ipam := range []string{upstreams.ipam, slicers.ipam} {
				folder := t.TempDir()
				conf := object{"type": ipam, "ipam": object{"type": ipam, "dataDir": folder, "ranges": ranges}}
				twins = append(twins, load(t, object{"cniVersion": "1.0.0", "name": "twin", "plugins": []any{conf}}))
				folders = append(folders, folder)
			}
			var told []string
			held := map[string]bool{}
			for range 14 {
				name := fmt.Sprintf("c%d", random.IntN(6))
				rt := at(name, "/run/netns/none", "eth0")
				var answers []string
				for _, n := range twins {
					answer := "DEL"
					if held[name] && len(told)%3 == 0 {
						answer = fmt.Sprint("CHECK ", n.tryCheck(rt) == nil)
					} else if held[name] {
						n.del(rt)
					} else {
						result, err := n.tryAdd(rt)
						answer = fmt.Sprint("ADD ", err == nil)
						if err == nil {
							answer += fmt.Sprint(result.IPs)
						}
					}
					answers = append(answers, answer)
				}
				told = append(told, name+" "+answers[1])
				if answers[0] != answers[1] {
					t.Fatalf("seed %d, %v: upstream's %s, ours %s\n%s", seed, ranges, answers[0], answers[1], strings.Join(told, "\n"))
				}
				if !strings.HasPrefix(answers[0], "CHECK") {
					held[name] = strings.HasPrefix(answers[0], "ADD true")
				}
			}
			mustEqual(t, fmt.Sprintf("files of seed %d", seed), twinLeases(t, filepath.Join(folders[1], "twin")),
				twinLeases(t, filepath.Join(folders[0], "twin")))
		}
	})
}
