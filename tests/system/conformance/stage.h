#pragma once
// Where a requirement is tried: a host, namespaces for attachments, one plugin.

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/system/conformance/subjects.h"
#include "tests/system/fixture/host.h"
#include "tests/system/fixture/plugin.h"

namespace slicer::test::conformance {

/// Oldest first.
inline constexpr const char* kVersions[] = {"0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"};
inline constexpr const char* kNewest = "1.1.0";
/// Whether `version` is at least `other`; both are of kVersions.
inline bool since(const std::string& version, const char* other) { return version >= other; }

/// What a proof found wrong. Empty in the end: the requirement holds.
class Verdict {
 public:
  void expect(bool holds, const std::string& otherwise);
  void expect(bool holds, const std::string& otherwise, const Answer& answer);
  /// The same, and nothing more can be tried without it.
  void require(bool holds, const std::string& otherwise);
  void require(bool holds, const std::string& otherwise, const Answer& answer);
  /// A failure with this code whose message has `word`, as the one document on stdout.
  void expect_error(const Answer& answer, int code, const std::string& word);
  [[nodiscard]] const std::vector<std::string>& violations() const { return violations_; }

 private:
  std::vector<std::string> violations_;
};
/// What require() throws.
struct Unprovable {};

class Stage {
 public:
  /// `distortion`: what distorted_plugin.cc does to the plugin; empty: the plugin itself is called.
  explicit Stage(const Subject& subject, std::string distortion = {});

  /// From now on the plugin is distorted like this; empty: no more.
  void distort(std::string distortion) { distortion_ = std::move(distortion); }

  [[nodiscard]] const Subject& subject() const { return subject_; }
  /// The configuration of a call. A plugin that follows another one gets that one's result for the attachment.
  Json conf(const std::string& version = kNewest, const std::string& id = "vm-1");
  /// The same for verbs without an attachment.
  [[nodiscard]] Json bare_conf(const std::string& version = kNewest) const;
  /// tap0 of a namespace that each container has of its own.
  Call call(const std::string& verb, const std::string& id = "vm-1");
  Answer run(const Json& conf, const Call& call) const;
  Answer run(const std::string& text, const Call& call) const;

  /// ADD that must work; its result.
  Json add(Verdict& verdict, const std::string& version = kNewest, const std::string& id = "vm-1");
  /// `conf` with the result of the ADD before it, as CHECK and DEL get it.
  Json conf_with(const Json& result, const std::string& version = kNewest, const std::string& id = "vm-1");
  /// What must be of prevResult in a result: of a plugin that adds a link all but that, and the addresses where they
  /// were.
  [[nodiscard]] Json passed_on(Json result, const Json& previous) const;
  /// Is there anything of the attachment: its interface, its address (slicer-ipam's or a spy's ADD without DEL)?
  bool has_interface(const std::string& id = "vm-1");
  [[nodiscard]] static bool has_lease(const std::string& id = "vm-1");
  /// The same of its address in firewalld's zone; the subject is one that talks to firewalld.
  [[nodiscard]] bool has_source(const std::string& id = "vm-1") const;
  Netns& box(const std::string& id = "vm-1");

  /// From now on calls find spy_plugin.cc by this name before all others.
  static void install_spy(const std::string& type);
  /// What the spies were called with: {plugin, command, env, conf, netns}.
  static std::vector<Json> spied();
  static void forget_spied();
  /// `conf` with a spy as its IPAM plugin, which gives Subject::lease.
  [[nodiscard]] Json with_spy(Json conf) const;

 private:
  const Subject& subject_;
  std::string distortion_;
  Host host_;
  std::map<std::string, std::unique_ptr<Netns>> boxes_;
  std::map<std::string, Json> before_;  ///< results of the plugin before, by container and version
};

}  // namespace slicer::test::conformance
