package harness

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
)

// network is a conflist under libcni, as a runtime holds it.
type network struct {
	t    *testing.T
	cni  *libcni.CNIConfig
	list *libcni.NetworkConfigList
}

type (
	object      = map[string]any
	runtimeConf = libcni.RuntimeConf
)

// shipped reads one of our ready conflists as a JSON object, for tests that change a key of it.
func shipped(t *testing.T, file string) object {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(conflist, file))
	check(t, err)
	var list object
	check(t, json.Unmarshal(text, &list))
	return list
}

// plugin returns the i-th plugin object of a conflist.
func plugin(list object, i int) object { return list["plugins"].([]any)[i].(object) }

// load gives a conflist to libcni; plugins are looked for in `first`, among ours, then among upstream's.
func load(t *testing.T, list object, first ...string) *network {
	t.Helper()
	text, err := json.Marshal(list)
	check(t, err)
	parsed, err := libcni.NetworkConfFromBytes(text)
	check(t, err)
	return &network{t, libcni.NewCNIConfig(append(first, ours, upstream), nil), parsed}
}

// at names an attachment.
func at(id, netns, ifname string) *libcni.RuntimeConf {
	return &libcni.RuntimeConf{ContainerID: id, NetNS: netns, IfName: ifname}
}

func (n *network) tryAdd(rt *libcni.RuntimeConf) (*types100.Result, error) {
	result, err := n.cni.AddNetworkList(context.Background(), n.list, rt)
	if err != nil {
		return nil, err
	}
	return types100.NewResultFromResult(result)
}

func (n *network) add(rt *libcni.RuntimeConf) *types100.Result {
	n.t.Helper()
	result, err := n.tryAdd(rt)
	check(n.t, err)
	return result
}

func (n *network) del(rt *libcni.RuntimeConf) {
	n.t.Helper()
	check(n.t, n.cni.DelNetworkList(context.Background(), n.list, rt))
}

func (n *network) tryCheck(rt *libcni.RuntimeConf) error {
	return n.cni.CheckNetworkList(context.Background(), n.list, rt)
}

func (n *network) status() error { return n.cni.GetStatusNetworkList(context.Background(), n.list) }

// gc keeps the named attachments. (libcni writes a nil list as null, which tells our plugins nothing.)
func (n *network) gc(valid ...types.GCAttachment) {
	n.t.Helper()
	known := append([]types.GCAttachment{}, valid...)
	check(n.t, n.cni.GCNetworkList(context.Background(), n.list, &libcni.GCArgs{ValidAttachments: known}))
}

// code is the CNI error code behind an error of libcni.
func code(err error) uint {
	var typed *types.Error
	if errors.As(err, &typed) {
		return typed.Code
	}
	return 0
}

// addressOf reads what libcni remembers of an attachment.
func (n *network) addressOf(rt *libcni.RuntimeConf) string {
	n.t.Helper()
	cached, err := n.cni.GetNetworkListCachedResult(n.list, rt)
	check(n.t, err)
	result, err := types100.NewResultFromResult(cached)
	check(n.t, err)
	return result.IPs[0].Address.IP.String()
}

// install puts a conflist where runtimes look for networks.
func install(t *testing.T, list object) {
	t.Helper()
	text, err := json.Marshal(list)
	check(t, err)
	check(t, os.MkdirAll(cniConf, 0o755))
	check(t, os.WriteFile(filepath.Join(cniConf, list["name"].(string)+".conflist"), text, 0o644))
}

// runner calls slicer-run, which finds plugins as `load` does.
func runner(t *testing.T, arguments ...string) string {
	t.Helper()
	t.Setenv("CNI_PATH", ours+":"+upstream)
	return must(t, append([]string{filepath.Join(ours, "slicer-run")}, arguments...)...)
}
