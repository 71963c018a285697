#include "lib/netfilter/iptables/table.h"

#include <dlfcn.h>
#include <fmt/format.h>
#include <libiptc/libip6tc.h>
#include <libiptc/libiptc.h>

#include <array>
#include <cerrno>
#include <ranges>

namespace slicer::netfilter {
namespace {

// libiptc has no other interface than these names; the types come from its headers.
struct V4 {
  static constexpr addr::Family kFamily = addr::Family::kIpv4;
  static constexpr std::array kLibraries{"libip4tc.so.2", "libip4tc.so.0"};
  using Entry = ipt_entry;
#define SLICER_IPTC(name) decltype(&iptc_##name) name = nullptr
#define SLICER_IPTC_ALL          \
  SLICER_IPTC(init);             \
  SLICER_IPTC(free);             \
  SLICER_IPTC(is_chain);         \
  SLICER_IPTC(first_chain);      \
  SLICER_IPTC(next_chain);       \
  SLICER_IPTC(first_rule);       \
  SLICER_IPTC(next_rule);        \
  SLICER_IPTC(get_target);       \
  SLICER_IPTC(get_policy);       \
  SLICER_IPTC(create_chain);     \
  SLICER_IPTC(flush_entries);    \
  SLICER_IPTC(delete_chain);     \
  SLICER_IPTC(append_entry);     \
  SLICER_IPTC(insert_entry);     \
  SLICER_IPTC(delete_num_entry); \
  SLICER_IPTC(commit);           \
  SLICER_IPTC(strerror)
  SLICER_IPTC_ALL;
#undef SLICER_IPTC
  static constexpr const char* kPrefix = "iptc_";
};

struct V6 {
  static constexpr addr::Family kFamily = addr::Family::kIpv6;
  static constexpr std::array kLibraries{"libip6tc.so.2", "libip6tc.so.0"};
  using Entry = ip6t_entry;
#define SLICER_IPTC(name) decltype(&ip6tc_##name) name = nullptr
  SLICER_IPTC_ALL;
#undef SLICER_IPTC
  static constexpr const char* kPrefix = "ip6tc_";
};

Error not_loaded(const char* library) {
  const char* cause = dlerror();
  return {.kind = Kind::kUnsupportedKernel,
          .message = fmt::format("load '{}': {}", library, cause == nullptr ? "not found" : cause),
          .hint = "install libip4tc2 and libip6tc2 (they come with iptables), or set \"backend\": \"nftables\""};
}

template <class Api>
Result<Api> load() {
  void* library = nullptr;
  for (const char* name : Api::kLibraries)
    if (library == nullptr) library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return std::unexpected(not_loaded(Api::kLibraries.front()));
  Api api;
  bool complete = true;
  const auto find = [&](auto& function, const char* name) {
    void* symbol = dlsym(library, (std::string(Api::kPrefix) + name).c_str());
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(symbol);
    complete = complete && symbol != nullptr;
  };
#define SLICER_IPTC(name) find(api.name, #name)
  SLICER_IPTC_ALL;
#undef SLICER_IPTC
  if (!complete) return std::unexpected(not_loaded(Api::kLibraries.front()));
  return api;  // the library stays until the process ends
}

/// Loaded once in a process, on first use; a failure is asked again.
template <class Api>
Result<const Api*> api() {
  static Api loaded;
  static bool done = false;
  if (!done) {
    loaded = TRY(load<Api>());
    done = true;
  }
  return &loaded;
}

constexpr int kMaxLooks = 10;

template <class Api>
class Session final : public IptSession {
 public:
  Session(const Api& api, IptTable table) : api_(api), table_(table) {}
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
  ~Session() override {
    if (handle_ != nullptr) api_.free(handle_);
  }

  Result<void> read() {
    handle_ = api_.init(table_name(table_));
    // The first look at a table makes it, and the kernel lets two at once try (net/netfilter/x_tables.c,
    // xt_find_table_lock()): the later one is told EEXIST, and finds it the next time.
    for (int look = 1; handle_ == nullptr && errno == EEXIST && look < kMaxLooks; ++look)
      handle_ = api_.init(table_name(table_));
    if (handle_ != nullptr) return {};
    const int cause = errno;
    // ENOPROTOOPT: no ip_tables in this kernel; ENOENT: no such table.
    if (cause == ENOPROTOOPT || cause == ENOENT || cause == EPROTONOSUPPORT)
      return fail(Kind::kUnsupportedKernel,
                  fmt::format("read table '{}' of {}: this kernel has no legacy tables ({})", table_name(table_),
                              program_of(Api::kFamily), errno_text(cause)),
                  "set \"backend\": \"nftables\" or leave the key out");
    return fail_errno(cause, fmt::format("read table '{}' of {}", table_name(table_), program_of(Api::kFamily)));
  }

  bool has_chain(const std::string& chain) const override { return api_.is_chain(chain.c_str(), handle_) != 0; }

  std::vector<std::string> chains() const override {
    std::vector<std::string> names;
    for (const char* name = api_.first_chain(handle_); name != nullptr; name = api_.next_chain(handle_))
      names.emplace_back(name);
    return names;
  }

  std::vector<StandingIptRule> rules(const std::string& chain) const override {
    std::vector<StandingIptRule> rules;
    if (!has_chain(chain)) return rules;
    for (const auto* entry = api_.first_rule(chain.c_str(), handle_); entry != nullptr;
         entry = api_.next_rule(entry, handle_)) {
      const char* target = api_.get_target(entry, handle_);
      rules.push_back({.rule = decode_rule(Api::kFamily, entry, target == nullptr ? "" : target),
                       .packets = packets_of(Api::kFamily, entry)});
    }
    return rules;
  }

  bool drops_by_default(const std::string& chain) const override {
    xt_counters counters{};
    const char* policy = api_.get_policy(chain.c_str(), &counters, handle_);
    return policy != nullptr && std::string_view(policy) == "DROP";
  }

  Result<void> create_chain(const std::string& chain) override {
    return done(api_.create_chain(chain.c_str(), handle_), "make", chain);
  }
  Result<void> flush_chain(const std::string& chain) override {
    return done(api_.flush_entries(chain.c_str(), handle_), "empty", chain);
  }
  Result<void> delete_chain(const std::string& chain) override {
    return done(api_.delete_chain(chain.c_str(), handle_), "delete", chain);
  }

  Result<void> append(const std::string& chain, const IptRule& rule) override {
    const std::vector<uint64_t> entry = encode_rule(rule);
    return done(api_.append_entry(chain.c_str(), as_entry(entry), handle_), "append a rule to", chain);
  }
  Result<void> insert_first(const std::string& chain, const IptRule& rule) override {
    const std::vector<uint64_t> entry = encode_rule(rule);
    return done(api_.insert_entry(chain.c_str(), as_entry(entry), 0, handle_), "insert a rule into", chain);
  }
  Result<void> delete_rule(const std::string& chain, size_t position) override {
    return done(api_.delete_num_entry(chain.c_str(), static_cast<unsigned>(position), handle_), "delete a rule of",
                chain);
  }

  Result<void> commit() override {
    if (api_.commit(handle_) != 0) return {};
    const int cause = errno;
    const std::string action = fmt::format("write table '{}' of {}", table_name(table_), program_of(Api::kFamily));
    // libiptc and x_tables say ENOENT for a match or target that no module has.
    if (cause == ENOENT || cause == ENOPROTOOPT)
      return fail(Kind::kUnsupportedKernel,
                  fmt::format("{}: the kernel lacks a match or target ({})", action, errno_text(cause)),
                  "the modules are named in docs/slicer-firewall.md, \"iptables\"; or set \"backend\": \"nftables\"");
    return fail_errno(cause, action);
  }

 private:
  static const typename Api::Entry* as_entry(const std::vector<uint64_t>& bytes) {
    return reinterpret_cast<const typename Api::Entry*>(bytes.data());
  }

  Result<void> done(int outcome, const char* action, const std::string& chain) const {
    if (outcome != 0) return {};
    const int cause = errno;
    return fail(Kind::kSystem, fmt::format("{} chain '{}' in table '{}' of {}: {}", action, chain, table_name(table_),
                                           program_of(Api::kFamily), api_.strerror(cause)));
  }

  const Api& api_;
  IptTable table_;
  xtc_handle* handle_ = nullptr;
};

template <class Api>
Result<std::unique_ptr<IptSession>> open_session(IptTable table) {
  const Api* loaded = TRY(api<Api>());
  auto session = std::make_unique<Session<Api>>(*loaded, table);
  TRY(session->read());
  return std::unique_ptr<IptSession>(std::move(session));
}

}  // namespace

const char* table_name(IptTable table) {
  switch (table) {
    case IptTable::kFilter:
      return "filter";
    case IptTable::kNat:
      return "nat";
    case IptTable::kMangle:
      return "mangle";
  }
  return "";
}

const char* program_of(addr::Family family) { return family == addr::Family::kIpv4 ? "iptables" : "ip6tables"; }

std::vector<std::string> tables_in_use(addr::Family family) {
  const char* path = family == addr::Family::kIpv4 ? "/proc/net/ip_tables_names" : "/proc/net/ip6_tables_names";
  std::vector<std::string> tables;
  const Result<std::string> names = read_file(path);
  if (!names) return tables;  // the module is not loaded, so none is in use
  for (const auto line : std::views::split(*names, '\n'))
    if (std::string name(line.begin(), line.end()); !name.empty()) tables.push_back(std::move(name));
  return tables;
}

bool is_in_use(addr::Family family, IptTable table) {
  for (const std::string& name : tables_in_use(family))
    if (name == table_name(table)) return true;
  return false;
}

Result<std::unique_ptr<IptSession>> IptSession::open(addr::Family family, IptTable table) {
  return family == addr::Family::kIpv4 ? open_session<V4>(table) : open_session<V6>(table);
}

}  // namespace slicer::netfilter
