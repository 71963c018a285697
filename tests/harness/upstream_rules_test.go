package harness

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
)

const v4, v6 = "192.0.2.0/24", "2001:db8:1::/64"

// useIptables makes one kind of iptables the one that upstream's plugins find.
func useIptables(t *testing.T, kind string) {
	t.Helper()
	folder := t.TempDir()
	for _, program := range []string{"iptables", "ip6tables"} {
		path, err := exec.LookPath(program + "-" + kind)
		if err != nil {
			skip(t, program+"-"+kind+" is not installed")
		}
		if output, err := exec.Command(path, "-t", "nat", "-S").CombinedOutput(); err != nil {
			skip(t, path+": "+string(output))
		}
		check(t, os.Symlink(path, filepath.Join(folder, program)))
	}
	t.Setenv("PATH", folder+":"+os.Getenv("PATH"))
}

// upstreamsRules are the rules of the host where upstream's plugins have theirs, a line each.
func upstreamsRules(t *testing.T) []string {
	t.Helper()
	text := ""
	for _, program := range []string{"iptables", "ip6tables"} {
		text += must(t, program, "-t", "nat", "-S") + must(t, program, "-S")
	}
	for _, table := range []string{"bridge nat", "inet cni_plugins_masquerade"} {
		output, _ := exec.Command("nft", append([]string{"list", "table"}, strings.Fields(table)...)...).Output()
		text += string(output)
	}
	var lines []string
	for _, line := range strings.Split(text, "\n") {
		if line = strings.TrimSpace(line); line != "" && line != "}" {
			lines = append(lines, line)
		}
	}
	return lines
}

// administrators rules beside upstream's about the same address: none of theirs.
const administrators = "-p tcp"

// without leaves the lines out that contain one of the parts, and fails when there is none for one of them.
func without(t *testing.T, lines []string, parts ...string) []string {
	t.Helper()
	found := map[string]bool{}
	var rest []string
	for _, line := range lines {
		keep := true
		for _, part := range parts {
			if strings.Contains(line, part) && !strings.Contains(line, administrators) {
				keep, found[part] = false, true
			}
		}
		if keep {
			rest = append(rest, line)
		}
	}
	for _, part := range parts {
		if !found[part] {
			t.Fatalf("upstream's plugins made nothing with %q:\n%s", part, strings.Join(lines, "\n"))
		}
	}
	return rest
}

func mustStand(t *testing.T, what string, want []string) {
	t.Helper()
	got := upstreamsRules(t)
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Fatalf("%s: the rules are\n%s\nand should be\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// chainOf is the name of upstream's chain, as the rule says it whose comment names the container.
func chainOf(t *testing.T, lines []string, network, id string) string {
	t.Helper()
	for _, line := range lines {
		if _, chain, found := strings.Cut(line, "-j CNI-"); found &&
			strings.Contains(line, `name: \"`+network+`\" id: \"`+id+`\"`) {
			return "CNI-" + chain
		}
	}
	t.Fatalf("no chain of %s/%s", network, id)
	return ""
}

// A host that changed the types has the rules that upstream's bridge and firewall made for each container, and nobody
// else removes them: the next one that gets the address would be let through. Ours take a container's away with it, and
// no line of another's.
func TestTakeOverRemovesUpstreamsRules(t *testing.T) {
	for _, one := range []struct{ name, iptables, masquerade string }{
		{"iptables-nft", "nft", "iptables"},
		{"legacy tables", "legacy", "iptables"},
		{"ipMasqBackend nftables", "nft", "nftables"},
	} {
		t.Run(one.name, func(t *testing.T) {
			onOwnHost(t, func() {
				useIptables(t, one.iptables)
				list := func(s suite, name, v4, v6 string) *network {
					list := s.list(name, v4, v6)
					plugin(list, 0)["macspoofchk"] = true
					plugin(list, 0)["ipMasqBackend"] = one.masquerade
					return load(t, list)
				}
				for _, id := range []string{"a", "b", "c", "d"} {
					newNetns(t, id)
				}
				old := list(upstreams, "plain", v4, v6)
				attach := func(n *network, id, ifname string) *runtimeConf {
					rt := at(id, "/run/netns/"+id, ifname)
					n.add(rt)
					return rt
				}
				a, b, again := attach(old, "a", "eth0"), attach(old, "b", "eth0"), attach(old, "b", "eth1")
				c, d := attach(old, "c", "eth0"), attach(old, "d", "eth0")
				attach(list(upstreams, "other", "198.51.100.0/24", "2001:db8:2::/64"), "a", "net0") // another network of the same container

				// Of "a" all goes with DEL, and of "b" what is its second interface's.
				now := list(slicers, "plain", v4, v6)
				rules := upstreamsRules(t)
				own := func(id, ifname, host string) []string {
					parts := []string{"192.0.2." + host + "/32", "2001:db8:1::" + host + "/128"}
					if one.masquerade == "nftables" {
						parts = append(parts, "net: plain, if: "+ifname+", id: "+id+`"`)
					} else if ifname == "eth0" {
						parts = append(parts, chainOf(t, rules, "plain", id))
					}
					return append(parts, "cni-br-iface-"+id+"-"+ifname, "macspoofchk-"+id+"-"+ifname)
				}
				of := map[*runtimeConf][]string{a: own("a", "eth0", "2"), again: own("b", "eth1", "4"), b: own("b", "eth0", "3"),
					c: own("c", "eth0", "5"), d: own("d", "eth0", "6")}
				now.del(a)
				rules = without(t, rules, of[a]...)
				mustStand(t, "DEL of a", rules)
				now.del(a)
				mustStand(t, "DEL of a again", rules)
				now.del(again)
				rules = without(t, rules, of[again]...)
				mustStand(t, "DEL of b's second interface", rules)

				// Without the runtime's memory the addresses are IPAM's to tell. GC does not see upstream's links, nor what
				// is named by them.
				check(t, os.RemoveAll("/var/lib/cni/results"))
				now.del(d)
				rules = without(t, rules, of[d]...)
				mustStand(t, "DEL of d without prevResult", rules)
				now.gc(types.GCAttachment{ContainerID: "b", IfName: "eth0"})
				rules = without(t, rules, of[c][:3]...)
				mustStand(t, "GC", rules)
				now.gc()
				mustStand(t, "GC of all", without(t, rules, of[b][:3]...))
			})
		})
	}
}

// The firewall plugin alone changes.
func TestFirewallTakenOverRemovesUpstreamsRules(t *testing.T) {
	for _, kind := range []string{"nft", "legacy"} {
		t.Run(kind, func(t *testing.T) {
			onOwnHost(t, func() {
				useIptables(t, kind)
				a, b := at("a", newNetns(t, "a"), "eth0"), at("b", newNetns(t, "b"), "eth0")
				old := load(t, upstreams.list("plain", v4, v6))
				old.add(a)
				old.add(b)
				for _, chain := range []string{"CNI-FORWARD", "CNI-ADMIN", "FORWARD"} {
					must(t, append([]string{"iptables", "-I", chain, "-s", "192.0.2.2"}, append(strings.Fields(administrators), "-j", "ACCEPT")...)...)
				}
				rules := upstreamsRules(t)
				mixed := upstreams
				mixed.firewall = slicers.firewall
				load(t, mixed.list("plain", v4, v6)).del(a)
				mustStand(t, "DEL", without(t, rules, "192.0.2.2/32", "2001:db8:1::2/128", chainOf(t, rules, "plain", "a")))
			})
		})
	}
}
