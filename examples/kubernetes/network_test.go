package kubernetes

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// portOf finds a port of a container by name or number.
func portOf(c *corev1.Container, port intstr.IntOrString, protocol corev1.Protocol) (corev1.ContainerPort, bool) {
	i := slices.IndexFunc(c.Ports, func(p corev1.ContainerPort) bool {
		named := port.Type == intstr.String && p.Name == port.StrVal || port.Type == intstr.Int && p.ContainerPort == port.IntVal
		return named && protocolOf(p.Protocol) == protocolOf(protocol)
	})
	if i < 0 {
		return corev1.ContainerPort{}, false
	}
	return c.Ports[i], true
}

func protocolOf(p corev1.Protocol) corev1.Protocol { return cmp.Or(p, corev1.ProtocolTCP) }

// checkPorts: probes, hook, Services and policy name ports that the containers have.
func checkPorts(t *testing.T, f *fleet) {
	ringside, prometheus := f.ringside(), f.prometheus()
	for _, c := range []*corev1.Container{ringside, prometheus} {
		for kind, probe := range map[string]*corev1.Probe{"startup": c.StartupProbe, "readiness": c.ReadinessProbe} {
			if probe == nil || probe.HTTPGet == nil {
				t.Errorf("%s: no %s probe by HTTP", c.Name, kind)
			} else if _, ok := portOf(c, probe.HTTPGet.Port, corev1.ProtocolTCP); !ok {
				t.Errorf("%s: the %s probe asks at %s, which is no port of it", c.Name, kind, &probe.HTTPGet.Port)
			}
		}
		if c.LivenessProbe != nil {
			t.Errorf("%s: a liveness probe", c.Name)
		}
	}
	drain := prometheus.Lifecycle.PreStop.HTTPGet
	if p, ok := portOf(ringside, drain.Port, corev1.ProtocolTCP); !ok || p.Name != "ringside" || !slices.Contains(ringside.Args, "--web.enable-lifecycle") {
		t.Errorf("the hook asks at %s; Ringside has %+v and runs with %q", &drain.Port, ringside.Ports, ringside.Args)
	}
	for name, s := range f.services {
		for _, p := range s.Spec.Ports {
			_, sidecar := portOf(ringside, p.TargetPort, p.Protocol)
			if _, ok := portOf(prometheus, p.TargetPort, p.Protocol); !ok && !sidecar {
				t.Errorf("service %s: port %s leads to %s, which no container has", name, p.Name, &p.TargetPort)
			}
			// EndpointSlices have such ports since kubernetes#128850, in 1.33.
			if sidecar && p.TargetPort.Type == intstr.String {
				t.Errorf("service %s: port %s leads to %q of the sidecar; before Kubernetes 1.33 only a number does", name, p.Name, p.TargetPort.StrVal)
			}
		}
	}
	for _, p := range slices.Concat(ringside.Ports, prometheus.Ports) {
		for way, ports := range map[string][]string{
			"in": policyPorts(f.policy.Spec.Ingress[0].Ports), "out": policyPorts(f.policy.Spec.Egress[0].Ports),
		} {
			if want := fmt.Sprint(protocolOf(p.Protocol), p.ContainerPort); !slices.Contains(ports, want) {
				t.Errorf("the policy lets %s %s from and to members, not %s (%s)", way, ports, want, p.Name)
			}
		}
	}
}

func policyPorts(ports []networkingv1.NetworkPolicyPort) []string {
	var out []string
	for _, p := range ports {
		out = append(out, fmt.Sprint(*p.Protocol, p.Port))
	}
	return out
}

// checkPolicy: what the rest needs is let in and out. You may let more.
func checkPolicy(t *testing.T, f *fleet) {
	for _, port := range []int32{9090, 9590, 10901} {
		if !slices.ContainsFunc(f.policy.Spec.Ingress, func(r networkingv1.NetworkPolicyIngressRule) bool {
			return hasPort(r.Ports, port) && slices.ContainsFunc(r.From, func(p networkingv1.NetworkPolicyPeer) bool { return p.NamespaceSelector != nil })
		}) {
			t.Errorf("no namespace reaches port %d", port)
		}
	}
	addresses := []string{"192.0.2.1:443", "192.0.2.1:6443", "192.0.2.1:53"}
	if f.uploads() { // the credentials of EC2 and of EKS Pod Identity
		addresses = append(addresses, "169.254.169.254:80", "169.254.170.23:80")
	}
	for _, address := range addresses {
		if !letsOut(f, netip.MustParseAddrPort(address)) {
			t.Errorf("%s is not let out", address)
		}
	}
	// Without podSelector OpenShift leaves out pods of the node's network.
	if !slices.ContainsFunc(f.policy.Spec.Egress, func(r networkingv1.NetworkPolicyEgressRule) bool {
		return len(r.Ports) == 0 && slices.ContainsFunc(r.To, func(p networkingv1.NetworkPolicyPeer) bool {
			return matchesAll(p.NamespaceSelector) && matchesAll(p.PodSelector)
		})
	}) {
		t.Error("no rule lets out to any port of any pod")
	}
}

func matchesAll(s *metav1.LabelSelector) bool {
	return s != nil && len(s.MatchLabels) == 0 && len(s.MatchExpressions) == 0
}

// letsOut tells whether a TCP port of an address that is no pod's is reached.
func letsOut(f *fleet, address netip.AddrPort) bool {
	return slices.ContainsFunc(f.policy.Spec.Egress, func(r networkingv1.NetworkPolicyEgressRule) bool {
		return hasPort(r.Ports, int32(address.Port())) && (len(r.To) == 0 || slices.ContainsFunc(r.To, func(p networkingv1.NetworkPolicyPeer) bool {
			return p.IPBlock != nil && netip.MustParsePrefix(p.IPBlock.CIDR).Contains(address.Addr())
		}))
	})
}

func hasPort(ports []networkingv1.NetworkPolicyPort, port int32) bool {
	return len(ports) == 0 || slices.Contains(policyPorts(ports), fmt.Sprint(corev1.ProtocolTCP, port))
}
