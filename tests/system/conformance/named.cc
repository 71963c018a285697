// Requirements that tests elsewhere prove; they are named here and not repeated.
#include "tests/system/conformance/requirement.h"

namespace slicer::test::conformance {
namespace {

constexpr const char* kPlugins = "all plugins";
constexpr const char* kRunner = "slicer-run";
constexpr const char* kProtocol = "system/protocol_test.cc";
constexpr const char* kConflist = "unit/runner/chain_conflist_test.cc";
constexpr const char* kRuntime = "unit/runner/chain_runtime_test.cc";

}  // namespace

std::vector<NamedRequirement> named_requirements() {
  return {
      {"1 Configuration format", "MUST", "name: a letter or digit, then letters, digits, _ . -; no path", kPlugins,
       kProtocol, "protocol: a bad network name is code 7"},
      {"1 Configuration format", "MUST", "disableCheck: no plugin's CHECK is called, and the check succeeds", kRunner,
       kRuntime, "check: in order with the cached result; not before 0.4.0, not when disabled"},
      {"1 Configuration format", "MUST", "disableGC: no plugin's GC is called", kRunner, kRuntime,
       "gc: nothing when the network says disableGC"},
      {"1 Configuration format", "MUST",
       "plugins of the network's folder follow the inlined ones, unless loadOnlyInlinedPlugins", kRunner, kConflist,
       "load_network: plugins of the network's folder follow the inlined ones"},
      {"1 Configuration format", "MUST", "loadOnlyInlinedPlugins without plugins is refused", kRunner, kConflist,
       "parse_conflist: refuses what libcni refuses, and names file and key"},
      {"1 Plugin configuration objects", "MUST", "type names a file and no path", kRunner, kConflist,
       "parse_conflist: refuses what libcni refuses, and names file and key"},
      {"1 Plugin configuration objects", "MUST", "keys that the runtime does not know are kept", kRunner, kConflist,
       "parse_conflist: keeps every key of a plugin and the file's text"},
      {"1 Version considerations", "MUST", "the highest version that both speak, out of cniVersion and cniVersions",
       kRunner, kConflist, "parse_conflist: takes the highest version that both the file and we speak"},
      {"2 Parameters", "MUST", "CNI_CONTAINERID: not empty; a letter or digit, then letters, digits, _ . -", kPlugins,
       kProtocol, "protocol: impossible variables are code 4"},
      {"2 Parameters", "MUST", "a CNI_IFNAME that cannot be used is an error", kPlugins, kProtocol,
       "protocol: impossible variables are code 4"},
      {"2 Parameters", "is", "the variables that each verb requires; all missing ones are named", kPlugins, kProtocol,
       "protocol: missing variables are code 4 and all named"},
      {"2 VERSION", "SHOULD", "prints a version result, whatever else is set", kPlugins, kProtocol,
       "protocol: VERSION names all versions, whatever else is set"},
      {"2 ADD", "SHOULD NOT", "ADD is not called twice for one attachment without a DEL between", kRunner,
       "system/runner/vm_test.cc", "runner vm new: a name in use is an error"},
      {"2 CHECK", "MUST", "the runtime sends the result of the ADD as prevResult", kRunner, kRuntime,
       "check: in order with the cached result; not before 0.4.0, not when disabled"},
      {"2 CHECK", "MUST NOT", "no CHECK of what was never added, or is deleted", kRunner, kRuntime,
       "check: what was never added, or is deleted, is asked of no plugin"},
      {"2 DEL", "MUST", "the runtime sends the result of the ADD as prevResult", kRunner, kRuntime,
       "del: reverse order, with the cached result in the network's version"},
      {"2 GC", "MUST", "the runtime sends the list of valid attachments", kRunner, kRuntime,
       "gc: DEL for what is not listed, then the verb; goes on after errors"},
      {"3 Lifecycle & Ordering", "MUST NOT", "no two operations at once for one container", kRunner,
       "system/runner/life_test.cc",
       "life: two commands at once on one VM: the VM is in one state, and nobody waits in vain"},
      {"3 Lifecycle & Ordering", "MUST", "no ADD and no DEL while GC runs", kRunner,
       "system/runner/network_verbs_test.cc", "runner: a VM that is being attached keeps GC out, other VMs not"},
      {"3 Lifecycle & Ordering", "MUST", "a hundred containers at once: what is shared is locked", "ipam",
       "system/ipam/ipam_test.cc", "ipam: 100 parallel ADDs give 100 addresses of each family"},
      {"3 Lifecycle & Ordering", "MAY", "a DEL may be followed by others", kRunner, kRuntime,
       "del: works twice, without cache, without namespace; before 0.4.0 without the result"},
      {"3 Adding an attachment", "is", "a plugin that is not on the path is an error", kRunner,
       "system/runner/cleanup_test.cc", "runner vm new: a plugin that is not there is named before anything is made"},
      {"3 Adding an attachment", "is", "an error ends the chain and is returned", kRunner, kRuntime,
       "add: a failing plugin ends the chain with its own words and code"},
      {"3 Deleting an attachment", "is", "an error ends the chain and is returned; the next DEL begins anew", kRunner,
       kRuntime, "del: stops at the first error and keeps the result for the next attempt"},
      {"3 Checking an attachment", "is", "in order, each with the final result; an error ends the chain", kRunner,
       kRuntime, "check: in order with the cached result; not before 0.4.0, not when disabled"},
      {"3 Garbage-collecting a network", "is", "every plugin is called, also after an error; all errors are returned",
       kRunner, kRuntime, "gc: DEL for what is not listed, then the verb; goes on after errors"},
      {"5 Error", "MUST", "code 2: a field that is not supported; the message has key and value", "isolated",
       "system/conformance/bad_input_test.cc", "bad input: configuration"},
      {"5 Error", "is", "code 11: something that passes, to be tried again", "macvtap",
       "system/conformance/bad_input_test.cc", "bad input: kernel"},
      {"5 Error", "is", "code 3 is never given: it would tell the runtime that no DEL is needed", kPlugins,
       "unit/cni/error_test.cc", "error_code: the documented number of every kind"},
      {"5 Error", "MAY", "stderr has logs, and nothing on stdout but the one document", kPlugins, kProtocol,
       "protocol: closed and full streams end in failure, not in a hang or a crash"},
  };
}

}  // namespace slicer::test::conformance
