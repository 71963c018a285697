package harness

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/containernetworking/plugins/pkg/ns"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

var documents = fromEnvironment("SLICER_DOCS_DIR", "../../docs")

// fromPage takes a network configuration out of a page, so that the page says what a test has run.
func fromPage(t *testing.T, page string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(documents, page))
	check(t, err)
	block := regexp.MustCompile("(?s)```json\n(.*?)```").FindSubmatch(text)
	if block == nil {
		t.Fatalf("%s has no JSON in it", page)
	}
	return block[1]
}

// kubelet is as much of one as a test needs: pods by containerd's CRI.
type kubelet struct {
	*machine
	cri.RuntimeServiceClient
}

func newKubelet(m *machine) *kubelet {
	m.t.Helper()
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	check(m.t, err)
	m.t.Cleanup(func() { conn.Close() })
	k := &kubelet{m, cri.NewRuntimeServiceClient(conn)}
	images := cri.NewImageServiceClient(conn)
	eventually(m.t, "the image is known and the network ready", func() bool {
		image, err := images.ImageStatus(m.t.Context(), &cri.ImageStatusRequest{Image: &cri.ImageSpec{Image: imageName}})
		status, statusErr := k.Status(m.t.Context(), &cri.StatusRequest{})
		return err == nil && image.Image != nil && statusErr == nil && ready(status)
	})
	return k
}

// ready: containerd 2 has a third condition, about deprecated configuration.
func ready(status *cri.StatusResponse) bool {
	holds := map[string]bool{}
	for _, condition := range status.Status.Conditions {
		holds[condition.Type] = condition.Status
	}
	return holds["RuntimeReady"] && holds["NetworkReady"]
}

type pod struct {
	k          *kubelet
	id, ip     string
	config     *cri.PodSandboxConfig
	containers map[string]string
}

// run starts a pod with its containers, given by name and command; change edits the pod's configuration.
func (k *kubelet) run(name string, containers map[string][]string, change func(config *cri.PodSandboxConfig)) *pod {
	k.t.Helper()
	ctx := k.t.Context()
	config := &cri.PodSandboxConfig{
		Metadata: &cri.PodSandboxMetadata{Name: name, Uid: name, Namespace: "default"}, LogDirectory: k.folder,
		DnsConfig: &cri.DNSConfig{}, Linux: &cri.LinuxPodSandboxConfig{CgroupParent: k.cgroups + "/" + name}}
	if change != nil {
		change(config)
	}
	sandbox, err := k.RunPodSandbox(ctx, &cri.RunPodSandboxRequest{Config: config})
	check(k.t, err)
	p := &pod{k: k, id: sandbox.PodSandboxId, config: config, containers: map[string]string{}}
	status, err := k.PodSandboxStatus(ctx, &cri.PodSandboxStatusRequest{PodSandboxId: p.id})
	check(k.t, err)
	p.ip = status.Status.Network.Ip
	for name, command := range containers {
		created, err := k.CreateContainer(ctx, &cri.CreateContainerRequest{PodSandboxId: p.id, SandboxConfig: config,
			Config: &cri.ContainerConfig{Metadata: &cri.ContainerMetadata{Name: name}, Command: command,
				Image: &cri.ImageSpec{Image: imageName}, LogPath: name + ".log", Linux: &cri.LinuxContainerConfig{}}})
		check(k.t, err)
		p.containers[name] = created.ContainerId
		_, err = k.StartContainer(ctx, &cri.StartContainerRequest{ContainerId: created.ContainerId})
		check(k.t, err)
	}
	return p
}

// exec runs a command in a container and returns what it printed.
func (p *pod) exec(container string, command ...string) string {
	p.k.t.Helper()
	done, err := p.k.ExecSync(p.k.t.Context(),
		&cri.ExecSyncRequest{ContainerId: p.containers[container], Cmd: command, Timeout: 20})
	check(p.k.t, err)
	if done.ExitCode != 0 {
		p.k.t.Fatalf("%s in %s: exit code %d\n%s%s", strings.Join(command, " "), container, done.ExitCode, done.Stdout,
			done.Stderr)
	}
	return string(done.Stdout)
}

func (p *pod) remove() {
	p.k.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	_, err := p.k.StopPodSandbox(ctx, &cri.StopPodSandboxRequest{PodSandboxId: p.id})
	check(p.k.t, err)
	_, err = p.k.RemovePodSandbox(ctx, &cri.RemovePodSandboxRequest{PodSandboxId: p.id})
	check(p.k.t, err)
}

// newOutside is a machine beside the host, for what reaches the host's pods from elsewhere.
func newOutside(t *testing.T) string {
	t.Helper()
	newNetns(t, "outside")
	must(t, "ip", "link", "add", "up0", "type", "veth", "peer", "name", "eth0", "netns", "outside")
	must(t, "ip", "addr", "add", "198.51.100.1/24", "dev", "up0")
	must(t, "ip", "link", "set", "up0", "up")
	must(t, "ip", "-n", "outside", "addr", "add", "198.51.100.7/24", "dev", "eth0")
	must(t, "ip", "-n", "outside", "link", "set", "eth0", "up")
	return "198.51.100.1"
}

// fetchPage asks from a namespace; the server may be about to start.
func fetchPage(t *testing.T, netns, url string) {
	t.Helper()
	eventually(t, url+" answers in "+netns, func() bool {
		page, err := exec.Command("ip", "netns", "exec", netns, "curl", "-s", "-m", "1", url).Output()
		return err == nil && string(page) == "a page of the pod\n"
	})
}

// mustNotFetch: nobody lets the request through.
func mustNotFetch(t *testing.T, netns, url string) {
	t.Helper()
	if err := exec.Command("ip", "netns", "exec", netns, "curl", "-s", "-m", "1", url).Run(); err == nil {
		t.Fatalf("%s answers in %s", url, netns)
	}
}

// serve answers with the page in a namespace, until the test ends.
func serve(t *testing.T, netns string, port int) {
	t.Helper()
	check(t, ns.WithNetNSPath("/run/netns/"+netns, func(ns.NetNS) error {
		listener, err := net.Listen("tcp4", fmt.Sprintf(":%d", port))
		if err != nil {
			return err
		}
		t.Cleanup(func() { listener.Close() })
		go func() {
			_ = http.Serve(listener, http.HandlerFunc(func(answer http.ResponseWriter, _ *http.Request) {
				_, _ = answer.Write([]byte("a page of the pod\n"))
			}))
		}()
		return nil
	}))
}

// canShape tells whether the kernel has what the bandwidth plugin needs.
func canShape(t *testing.T) bool {
	t.Helper()
	newNetns(t, "try")
	defer must(t, "ip", "netns", "del", "try")
	if exec.Command("ip", "-n", "try", "link", "add", "ifb0", "type", "ifb").Run() != nil {
		return false
	}
	return exec.Command("tc", "-n", "try", "qdisc", "add", "dev", "ifb0", "root", "tbf", "rate", "1mbit", "burst", "10kb",
		"latency", "50ms").Run() == nil
}

// Two pods as kubelet makes them, on the conflist of docs/kubernetes.md.
func TestKubernetesPod(t *testing.T) {
	onContainerHost(t, "10-slicer.conflist", fromPage(t, "kubernetes.md"), func(m *machine) {
		k := newKubelet(m)
		node := newOutside(t)
		before := hostFacts(t)
		shaped := canShape(t)
		web := k.run("web", map[string][]string{
			"server": {"/bin/httpd", "-f", "-p", "80", "-h", "/www"}, "side": {"/bin/sleep", "600"},
		}, func(config *cri.PodSandboxConfig) {
			config.PortMappings = []*cri.PortMapping{{Protocol: cri.Protocol_TCP, ContainerPort: 80, HostPort: 8080}}
			if shaped {
				config.Annotations = map[string]string{
					"kubernetes.io/ingress-bandwidth": "100M", "kubernetes.io/egress-bandwidth": "50M"}
			}
		})
		other := k.run("other", map[string][]string{"client": {"/bin/sleep", "600"}}, nil)
		mustEqual(t, "the pods' addresses", []string{web.ip, other.ip}, []string{"10.73.20.2", "10.73.20.3"})

		fetchPage(t, "host", "http://"+web.ip)
		page := "a page of the pod\n"
		mustEqual(t, "the page in the pod", web.exec("side", "/bin/wget", "-q", "-O", "-", "http://127.0.0.1"), page)
		mustEqual(t, "the page in another", other.exec("client", "/bin/wget", "-q", "-O", "-", "http://"+web.ip), page)
		fetchPage(t, "outside", fmt.Sprintf("http://%s:8080", node))
		mustEqual(t, "the page by the host's port", web.exec("side", "/bin/wget", "-q", "-O", "-", "http://"+node+":8080"), page)
		mustEqual(t, "tuning's sysctl", web.exec("side", "/bin/cat", "/proc/sys/net/core/somaxconn"), "1024\n")
		if shaped {
			qdiscs := must(t, "tc", "qdisc")
			mustContain(t, qdiscs, "rate 100Mbit")
			mustContain(t, qdiscs, "rate 50Mbit")
		}
		mustEqual(t, "leases", leases(t, defaultDataDir, "slicer-pods"), []string{"10.73.20.2", "10.73.20.3"})

		web.remove()
		other.remove()
		mustEqual(t, "leases", leases(t, defaultDataDir, "slicer-pods"), []string{})
		eventually(t, "no link but the network's bridge is left", func() bool {
			return fmt.Sprint(links(t, hostNetns)) == "[up0 pods0]"
		})
		// What the second pod leaves is what the first left: the network's own.
		left := hostFacts(t)
		again := k.run("again", nil, nil)
		again.remove()
		eventually(t, "another pod leaves nothing", func() bool { return hostFacts(t) == left })
		mustEqual(t, "the pod's port is no longer mapped", strings.Contains(left, "8080"), false)
		mustEqual(t, "before the first", strings.Contains(before, "10.73.16"), false)
		if !shaped {
			t.Log("this kernel has no tbf or ifb: the bandwidth plugin had nothing to do")
		}
	})
}

// networkIs is what CRI tells of the network: kubelet marks its node by that.
func (k *kubelet) networkIs(want bool, reason string) func() bool {
	return func() bool {
		status, err := k.Status(k.t.Context(), &cri.StatusRequest{})
		check(k.t, err)
		for _, condition := range status.Status.Conditions {
			if condition.Type == "NetworkReady" {
				return condition.Status == want && strings.Contains(condition.Message, reason)
			}
		}
		return false
	}
}

// containerd 2 asks the plugins of a 1.1.0 network for STATUS: a network that has no address left is not ready.
func TestKubernetesStatus(t *testing.T) {
	list := bytes.Replace(fromPage(t, "kubernetes.md"), []byte(`"cniVersion": "1.0.0"`), []byte(`"cniVersion": "1.1.0"`), 1)
	list = bytes.Replace(list, []byte(`"10.73.20.0/22"`), []byte(`"10.73.20.0/30"`), 1)
	onContainerHost(t, "10-slicer.conflist", list, func(m *machine) {
		if m.major() == 1 {
			skip(t, "containerd 1 has no STATUS; scripts/test --full builds a newer one")
		}
		k := newKubelet(m)
		pod := k.run("only", map[string][]string{"one": {"/bin/sleep", "600"}}, nil)
		mustEqual(t, "the pod's address", pod.ip, "10.73.20.2")
		eventually(t, "without an address left it is not ready", k.networkIs(false, "no address is free in 10.73.20.1-10.73.20.2"))
		pod.remove()
		eventually(t, "ready again", k.networkIs(true, ""))
		mustEqual(t, "leases", leases(t, defaultDataDir, "slicer-pods"), []string{})
	})
}
