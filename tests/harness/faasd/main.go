// faasd-network does with a function's network what faasd does, with the libraries of faasd's go.mod (faasd is a
// program, not a library): Setup and Remove by go-cni, and the address by host-local's files.
//
// usage: faasd-network setup|remove|address NAME PID
package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	gocni "github.com/containerd/go-cni"
)

// faasd has these built in.
const (
	confFile = "/etc/cni/net.d/10-openfaas.conflist"
	binaries = "/opt/cni/bin"
	leases   = "/var/run/cni/openfaas-cni-bridge"
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: faasd-network setup|remove|address NAME PID")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]+"-"+os.Args[3], "/proc/"+os.Args[3]+"/ns/net"); err != nil {
		fmt.Fprintln(os.Stderr, "faasd-network:", err)
		os.Exit(1)
	}
}

func run(verb, id, netns string) error {
	if verb == "address" {
		return printAddress(id)
	}
	cni, err := gocni.New(gocni.WithPluginConfDir(filepath.Dir(confFile)), gocni.WithPluginDir([]string{binaries}),
		gocni.WithInterfacePrefix("eth"))
	if err != nil {
		return err
	}
	if err := cni.Load(gocni.WithLoNetwork, gocni.WithConfListFile(confFile)); err != nil {
		return err
	}
	if verb == "remove" {
		return cni.Remove(context.Background(), id, netns)
	}
	result, err := cni.Setup(context.Background(), id, netns, gocni.WithLabels(map[string]string{}))
	if err != nil {
		return err
	}
	for name, one := range result.Interfaces {
		for _, ip := range one.IPConfigs {
			fmt.Println(name, ip.IP, ip.Gateway)
		}
	}
	return nil
}

// printAddress looks for the allocation file whose first line names the function and whose second an interface.
func printAddress(id string) error {
	files, err := os.ReadDir(leases)
	if err != nil {
		return err
	}
	for _, file := range files {
		text, err := os.Open(filepath.Join(leases, file.Name()))
		if err != nil {
			return err // faasd gives up, too
		}
		defer text.Close()
		lines := bufio.NewScanner(text)
		if lines.Scan() && strings.Contains(lines.Text(), id) && lines.Scan() && strings.Contains(lines.Text(), "eth") {
			fmt.Println(file.Name())
			return nil
		}
	}
	return fmt.Errorf("no file in %s names %s", leases, id)
}
