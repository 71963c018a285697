#include "plugins/firewall/zone_bus.h"

#include <dlfcn.h>
#include <fmt/format.h>
#include <systemd/sd-bus.h>

#include <initializer_list>
#include <optional>
#include <string_view>

namespace slicer::firewall {
namespace {

constexpr const char* kLibrary = "libsystemd.so.0";
constexpr uint64_t kCallLimitMicroseconds = 10'000'000;
// The names of firewalld's interface (firewalld.dbus(5)).
constexpr const char* kService = "org.fedoraproject.FirewallD1";
constexpr const char* kPath = "/org/fedoraproject/FirewallD1";
constexpr const char* kConfigPath = "/org/fedoraproject/FirewallD1/config";
constexpr const char* kZones = "org.fedoraproject.FirewallD1.zone";
constexpr const char* kConfig = "org.fedoraproject.FirewallD1.config";
constexpr const char* kConfigZone = "org.fedoraproject.FirewallD1.config.zone";

/// What is used of sd-bus, by its own types.
#define SLICER_SD_BUS(name) decltype(&sd_bus_##name) name = nullptr
struct Api {
  SLICER_SD_BUS(open_system);
  SLICER_SD_BUS(flush_close_unref);
  SLICER_SD_BUS(message_new_method_call);
  SLICER_SD_BUS(message_set_auto_start);
  SLICER_SD_BUS(message_append_basic);
  SLICER_SD_BUS(message_read_basic);
  SLICER_SD_BUS(message_unref);
  SLICER_SD_BUS(call);
  SLICER_SD_BUS(error_free);
};
#undef SLICER_SD_BUS

template <class Function>
bool find_symbol(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(library, name));
  return function != nullptr;
}

Result<Api> load_api() {
  void* library = dlopen(kLibrary, RTLD_NOW | RTLD_LOCAL);  // stays for as long as the process lives
  Api api;
  if (library != nullptr && find_symbol(library, "sd_bus_open_system", api.open_system) &&
      find_symbol(library, "sd_bus_flush_close_unref", api.flush_close_unref) &&
      find_symbol(library, "sd_bus_message_new_method_call", api.message_new_method_call) &&
      find_symbol(library, "sd_bus_message_set_auto_start", api.message_set_auto_start) &&
      find_symbol(library, "sd_bus_message_append_basic", api.message_append_basic) &&
      find_symbol(library, "sd_bus_message_read_basic", api.message_read_basic) &&
      find_symbol(library, "sd_bus_message_unref", api.message_unref) &&
      find_symbol(library, "sd_bus_call", api.call) && find_symbol(library, "sd_bus_error_free", api.error_free))
    return api;
  const char* cause = dlerror();
  return fail(Kind::kUnavailable, fmt::format("load '{}': {}", kLibrary, cause == nullptr ? "too old" : cause),
              R"(install libsystemd0, or choose another "backend")");
}

/// A method, and the strings that it takes.
struct Method {
  const char* path = kPath;
  const char* interface = kZones;
  const char* name = nullptr;
};

}  // namespace

struct ZoneBus::Impl {
  explicit Impl(const Api& loaded) : api(loaded) {}
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl() {
    if (bus != nullptr) (void)api.flush_close_unref(bus);
  }

  Api api;
  sd_bus* bus = nullptr;
};

namespace {

/// A message, given back at the end of its scope.
class MessageRef {
 public:
  explicit MessageRef(const Api& api) : api_(api) {}
  MessageRef(const MessageRef&) = delete;
  MessageRef& operator=(const MessageRef&) = delete;
  ~MessageRef() {
    if (get_ != nullptr) (void)api_.message_unref(get_);
  }
  sd_bus_message** out() { return &get_; }
  sd_bus_message* get() { return get_; }

 private:
  const Api& api_;
  sd_bus_message* get_ = nullptr;
};

/// An answer of firewalld's that is no success: "ZONE_ALREADY_SET: '192.0.2.7/32' already bound to 'trusted'".
struct Refusal {
  std::string text = {};
  int number = 0;

  [[nodiscard]] bool is(std::string_view code) const {
    return text.starts_with(code) && (text.size() == code.size() || text[code.size()] == ':');
  }
};

/// What came of a call: a boolean or an object's path where the method gives one, or a refusal.
struct Reply {
  bool yes = false;
  std::string path = {};
  std::optional<Refusal> refusal = {};
};

Reply take_answer(const Api& api, sd_bus_message* answer, char type) {
  Reply reply;
  int yes = 0;
  const char* text = nullptr;
  if (type == SD_BUS_TYPE_BOOLEAN && api.message_read_basic(answer, type, &yes) > 0) reply.yes = yes != 0;
  if (type == SD_BUS_TYPE_OBJECT_PATH && api.message_read_basic(answer, type, &text) > 0) reply.path = text;
  return reply;
}

Error no_service(std::string_view cause, int number) {
  if (number == -ETIMEDOUT)
    return {.kind = Kind::kBusy,
            .message = "wait for firewalld on D-Bus: no answer for 10 s",
            .hint = "try again, or find out what firewalld is doing: journalctl -u firewalld"};
  return {.kind = Kind::kUnavailable,
          .message = fmt::format("reach firewalld on D-Bus: {}", cause),
          .hint = R"(start firewalld, or choose another "backend")"};
}

/// Calls a method with strings. `type` is what it answers with, 0: nothing of interest. Errors: kUnavailable, kBusy.
Result<Reply> call(ZoneBus::Impl& impl, const Method& method, std::initializer_list<std::string_view> arguments,
                   char type = 0) {
  const Api& api = impl.api;
  MessageRef request(api);
  MessageRef answer(api);
  int done = api.message_new_method_call(impl.bus, request.out(), kService, method.path, method.interface, method.name);
  if (done >= 0) done = api.message_set_auto_start(request.get(), 0);
  for (const std::string_view argument : arguments)
    if (done >= 0) done = api.message_append_basic(request.get(), SD_BUS_TYPE_STRING, std::string(argument).c_str());
  if (done < 0) return std::unexpected(no_service(errno_text(-done), done));
  sd_bus_error error = {};  // SD_BUS_ERROR_NULL, which is no C++
  done = api.call(impl.bus, request.get(), kCallLimitMicroseconds, &error, answer.out());
  if (done >= 0) return take_answer(api, answer.get(), type);
  const std::string name = error.name == nullptr ? "" : error.name;
  const std::string text = error.message == nullptr ? errno_text(-done) : error.message;
  api.error_free(&error);
  if (!name.starts_with(kService)) return std::unexpected(no_service(text, done));
  Reply reply;
  reply.refusal = Refusal{.text = text, .number = done};
  return reply;
}

Error refused(const Refusal& refusal, const std::string& zone, const std::string& action) {
  if (refusal.is("INVALID_ZONE"))
    return {.kind = Kind::kInvalidConfig,
            .message = fmt::format("\"firewalldZone\": firewalld has no zone '{}'", zone),
            .hint = "firewall-cmd --get-zones lists them; leave the key out for \"trusted\""};
  if (refusal.is("ZONE_CONFLICT"))
    return {.kind = Kind::kExists,
            .message = fmt::format("{}: {}", action, refusal.text),
            .hint = "firewall-cmd --get-zone-of-source=ADDRESS names that zone; take it out there"};
  return {.kind = Kind::kInternal,
          .message = fmt::format("{}: {}", action, refusal.text),
          .hint = "see journalctl -u firewalld"};
}

/// The object of a zone's permanent configuration. Empty: there is no such zone.
Result<std::string> find_config_zone(ZoneBus::Impl& impl, const std::string& zone) {
  const Reply reply = TRY(call(impl, {.path = kConfigPath, .interface = kConfig, .name = "getZoneByName"}, {zone},
                               SD_BUS_TYPE_OBJECT_PATH));
  if (!reply.refusal || reply.refusal->is("INVALID_ZONE")) return reply.path;
  return std::unexpected(refused(*reply.refusal, zone, fmt::format("find zone '{}' of firewalld", zone)));
}

}  // namespace

ZoneBus::ZoneBus(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ZoneBus::ZoneBus(ZoneBus&&) noexcept = default;
ZoneBus& ZoneBus::operator=(ZoneBus&&) noexcept = default;
ZoneBus::~ZoneBus() = default;

Result<ZoneBus> ZoneBus::open() {
  auto impl = std::make_unique<Impl>(TRY(load_api()));
  const int done = impl->api.open_system(&impl->bus);
  if (done < 0) return std::unexpected(no_service(errno_text(-done), done));
  return ZoneBus(std::move(impl));
}

// The permanent one first: what is in force now is what CHECK looks at, so a call that is killed in between is noticed.
Result<void> ZoneBus::ensure_source(const std::string& zone, const std::string& source) {
  const std::string action = fmt::format("put '{}' into zone '{}' of firewalld", source, zone);
  const std::string path = TRY(find_config_zone(*impl_, zone));
  if (path.empty()) return std::unexpected(refused({.text = "INVALID_ZONE"}, zone, action));
  const Reply kept = TRY(call(*impl_, {.path = path.c_str(), .interface = kConfigZone, .name = "addSource"}, {source}));
  if (kept.refusal && !kept.refusal->is("ALREADY_ENABLED"))
    return std::unexpected(refused(*kept.refusal, zone, action));
  const Reply now = TRY(call(*impl_, {.name = "addSource"}, {zone, source}));
  if (!now.refusal || now.refusal->is("ZONE_ALREADY_SET")) return {};
  if (!kept.refusal)
    (void)call(*impl_, {.path = path.c_str(), .interface = kConfigZone, .name = "removeSource"}, {source});  // undone
  return std::unexpected(refused(*now.refusal, zone, action));
}

Result<void> ZoneBus::delete_source(const std::string& zone, const std::string& source) {
  const std::string action = fmt::format("take '{}' out of zone '{}' of firewalld", source, zone);
  const auto is_absent = [](const Refusal& refusal) {
    return refusal.is("UNKNOWN_SOURCE") || refusal.is("NOT_ENABLED") || refusal.is("INVALID_ZONE") ||
           refusal.is("ZONE_CONFLICT");  // in another zone: not ours any more
  };
  const Reply now = TRY(call(*impl_, {.name = "removeSource"}, {zone, source}));
  if (now.refusal && !is_absent(*now.refusal)) return std::unexpected(refused(*now.refusal, zone, action));
  const std::string path = TRY(find_config_zone(*impl_, zone));
  if (path.empty()) return {};
  const Reply kept =
      TRY(call(*impl_, {.path = path.c_str(), .interface = kConfigZone, .name = "removeSource"}, {source}));
  if (kept.refusal && !is_absent(*kept.refusal)) return std::unexpected(refused(*kept.refusal, zone, action));
  return {};
}

Result<bool> ZoneBus::has_source(const std::string& zone, const std::string& source) {
  const Reply reply = TRY(call(*impl_, {.name = "querySource"}, {zone, source}, SD_BUS_TYPE_BOOLEAN));
  if (!reply.refusal) return reply.yes;
  return std::unexpected(refused(*reply.refusal, zone, fmt::format("look for '{}' in zone '{}'", source, zone)));
}

Result<void> ZoneBus::probe(const std::string& zone) {
  const std::string path = TRY(find_config_zone(*impl_, zone));
  if (path.empty()) return std::unexpected(refused({.text = "INVALID_ZONE"}, zone, ""));
  return {};
}

}  // namespace slicer::firewall
