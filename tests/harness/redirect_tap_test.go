package harness

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/version"
	"github.com/containernetworking/plugins/pkg/ns"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A stand-in for tc-redirect-tap, which cannot be had as a Go module: what the kernel and the runtime see of that one,
// made by the same library. SLICER_TC_REDIRECT_TAP names the real program; the tests then use it instead.
const redirectTapName = "tc-redirect-tap"

// redirectTapFolder is a folder with the program in it, for CNI_PATH.
func redirectTapFolder(t *testing.T) string {
	t.Helper()
	program := os.Getenv("SLICER_TC_REDIRECT_TAP")
	if program == "" {
		self, err := os.Executable()
		check(t, err)
		program = self
	}
	folder := t.TempDir()
	check(t, os.Symlink(program, filepath.Join(folder, redirectTapName)))
	return folder
}

func runRedirectTap() {
	skel.PluginMainFuncs(skel.CNIFuncs{Add: addRedirectTap, Del: delRedirectTap, Check: checkRedirectTap},
		version.All, "stand-in for tc-redirect-tap")
}

// previousOf reads the result of the plugins before.
func previousOf(args *skel.CmdArgs) (*types100.Result, string, error) {
	var conf types.NetConf
	if err := json.Unmarshal(args.StdinData, &conf); err != nil {
		return nil, "", err
	}
	if err := version.ParsePrevResult(&conf); err != nil {
		return nil, "", err
	}
	if conf.PrevResult == nil {
		return nil, "", errors.New("no previous result")
	}
	result, err := types100.NewResultFromResult(conf.PrevResult)
	return result, conf.CNIVersion, err
}

// redirect is a match-all u32 filter of a priority that the kernel chooses, on the ingress qdisc.
func redirect(from, to netlink.Link) error {
	return netlink.FilterAdd(&netlink.U32{
		FilterAttrs: netlink.FilterAttrs{LinkIndex: from.Attrs().Index, Parent: netlink.MakeHandle(0xffff, 0),
			Protocol: unix.ETH_P_ALL},
		Actions: []netlink.Action{&netlink.MirredAction{ActionAttrs: netlink.ActionAttrs{Action: netlink.TC_ACT_STOLEN},
			MirredAction: netlink.TCA_EGRESS_REDIR, Ifindex: to.Attrs().Index}}})
}

func ingressOf(link netlink.Link) *netlink.Ingress {
	return &netlink.Ingress{QdiscAttrs: netlink.QdiscAttrs{LinkIndex: link.Attrs().Index, Parent: netlink.HANDLE_INGRESS}}
}

func addRedirectTap(args *skel.CmdArgs) error {
	result, asked, err := previousOf(args)
	if err != nil {
		return err
	}
	values := map[string]string{}
	for _, pair := range strings.Split(args.Args, ";") {
		if key, value, ok := strings.Cut(pair, "="); ok {
			values[key] = value
		}
	}
	err = ns.WithNetNSPath(args.Netns, func(ns.NetNS) error {
		followed, err := netlink.LinkByName(args.IfName)
		if err != nil {
			return err
		}
		tap := &netlink.Tuntap{LinkAttrs: netlink.NewLinkAttrs(), Mode: netlink.TUNTAP_MODE_TAP, Queues: 1,
			Flags: netlink.TUNTAP_ONE_QUEUE | netlink.TUNTAP_VNET_HDR}
		tap.Name = values["TC_REDIRECT_TAP_NAME"]
		if err := netlink.LinkAdd(tap); err != nil {
			return err
		}
		for _, file := range tap.Fds {
			defer file.Close()
			if err := errors.Join(unix.IoctlSetInt(int(file.Fd()), unix.TUNSETOWNER, number(values["TC_REDIRECT_TAP_UID"])),
				unix.IoctlSetInt(int(file.Fd()), unix.TUNSETGROUP, number(values["TC_REDIRECT_TAP_GID"]))); err != nil {
				return err
			}
		}
		result.Interfaces = append(result.Interfaces, &types100.Interface{Name: tap.Name, Sandbox: args.Netns},
			&types100.Interface{Name: tap.Name, Sandbox: args.ContainerID, Mac: followed.Attrs().HardwareAddr.String()})
		guest := len(result.Interfaces) - 1
		for _, ip := range result.IPs[:len(result.IPs):len(result.IPs)] {
			result.IPs = append(result.IPs, &types100.IPConfig{Address: ip.Address, Gateway: ip.Gateway, Interface: &guest})
		}
		return errors.Join(netlink.LinkSetMTU(tap, followed.Attrs().MTU), netlink.LinkSetUp(tap),
			netlink.QdiscAdd(ingressOf(tap)), netlink.QdiscAdd(ingressOf(followed)), redirect(tap, followed),
			redirect(followed, tap))
	})
	if err != nil {
		return err
	}
	return types.PrintResult(result, asked)
}

func number(text string) int {
	value := 0
	_, _ = fmt.Sscan(text, &value)
	return value
}

// tapOf is the TAP that the result names for the container.
func tapOf(result *types100.Result, containerID string) string {
	for _, one := range result.Interfaces {
		if one.Sandbox == containerID {
			return one.Name
		}
	}
	return ""
}

func delRedirectTap(args *skel.CmdArgs) error {
	result, _, err := previousOf(args)
	if err != nil {
		return nil
	}
	return ns.WithNetNSPath(args.Netns, func(ns.NetNS) error {
		for _, name := range []string{args.IfName, tapOf(result, args.ContainerID)} {
			link, err := netlink.LinkByName(name)
			if err != nil {
				continue
			}
			if name == args.IfName {
				qdiscs, err := netlink.QdiscList(link)
				if err != nil {
					return err
				}
				for _, qdisc := range qdiscs {
					if qdisc.Attrs().Parent == netlink.HANDLE_INGRESS {
						if err := netlink.QdiscDel(qdisc); err != nil {
							return err
						}
					}
				}
			} else if err := netlink.LinkDel(link); err != nil {
				return err
			}
		}
		return nil
	})
}

func checkRedirectTap(args *skel.CmdArgs) error {
	result, _, err := previousOf(args)
	if err != nil {
		return err
	}
	return ns.WithNetNSPath(args.Netns, func(ns.NetNS) error {
		followed, err := netlink.LinkByName(args.IfName)
		if err != nil {
			return err
		}
		filters, err := netlink.FilterList(followed, netlink.MakeHandle(0xffff, 0))
		if err != nil {
			return err
		}
		tap, err := netlink.LinkByName(tapOf(result, args.ContainerID))
		if err != nil {
			return err
		}
		for _, filter := range filters {
			if u32, ok := filter.(*netlink.U32); ok && u32.RedirIndex == tap.Attrs().Index {
				return nil
			}
		}
		return fmt.Errorf("no filter redirects %q to its TAP", args.IfName)
	})
}
