// Reading what the kernel says, from recorded bytes.
#include "lib/net/message.h"

#include <doctest/doctest.h>

#include <cerrno>
#include <vector>

#include "lib/net/link_parse.h"
#include "tests/unit/net/recorded_messages.h"

using namespace slicer;

namespace {

/// A recorded message in memory that is aligned as a socket's buffer is.
class Recorded {
 public:
  explicit Recorded(const std::string& hex) : words_((hex.size() / 2 + 3) / 4) {
    auto* bytes = reinterpret_cast<uint8_t*>(words_.data());
    for (size_t i = 0; i + 1 < hex.size(); i += 2)
      bytes[i / 2] = static_cast<uint8_t>(std::stoul(hex.substr(i, 2), nullptr, 16));
  }
  [[nodiscard]] nlmsghdr& message() { return *reinterpret_cast<nlmsghdr*>(words_.data()); }

 private:
  std::vector<uint32_t> words_;
};

}  // namespace

TEST_CASE("parse_link: a TAP on a bridge") {
  Recorded recorded(test::kTapOnBridge);
  const net::Link link = net::parse_link(recorded.message()).value();
  CHECK(link.name == "vmtap0");
  CHECK(link.alias == "slicer:lan/vm/vmtap0");
  CHECK(link.kind == "tun");
  CHECK(link.mac.text() == "02:00:5e:00:53:01");
  CHECK(link.mtu_bytes == 1400);
  CHECK(link.group == 5);
  CHECK(link.master == 2);
  CHECK(link.up);
  CHECK_FALSE(link.carrier);
  CHECK_FALSE(link.peer_netnsid.has_value());
  REQUIRE(link.tun.has_value());
  CHECK(link.tun->owner == 4711);
  CHECK_FALSE(link.tun->group.has_value());
  CHECK(link.tun->tap);
  CHECK(link.tun->persistent);
  CHECK(link.tun->vnet_hdr);
  CHECK_FALSE(link.tun->multi_queue);
  CHECK_FALSE(link.bridge.has_value());
}

TEST_CASE("parse_link: a bridge") {
  Recorded recorded(test::kBridge);
  const net::Link link = net::parse_link(recorded.message()).value();
  CHECK(link.name == "slb0");
  CHECK(link.index == 2);
  CHECK(link.kind == "bridge");
  CHECK(link.alias == "slicer:lan");
  CHECK(link.master == 0);
  REQUIRE(link.bridge.has_value());
  CHECK_FALSE(link.bridge->stp);
  CHECK_FALSE(link.bridge->vlan_filtering);
  CHECK(link.bridge->forward_delay_ms == 0);
  CHECK_FALSE(link.tun.has_value());
}

TEST_CASE("parse_link: whatever comes cut short is refused or read in part, never beyond its end") {
  const std::string whole = test::kTapOnBridge;
  for (size_t size = sizeof(nlmsghdr); size < whole.size() / 2; ++size) {
    Recorded recorded(whole.substr(0, size * 2));
    recorded.message().nlmsg_len = static_cast<uint32_t>(size);
    if (const auto link = net::parse_link(recorded.message()); !link) CHECK(link.error().kind == Kind::kDecode);
  }
}

TEST_CASE("parse_link: another message is none") {
  Recorded recorded(test::kRefusal);
  CHECK(net::parse_link(recorded.message()).error().kind == Kind::kDecode);
}

TEST_CASE("read_verdict: the number, and the kernel's words behind a whole request") {
  Recorded plain(test::kRefusal);
  CHECK(net::read_verdict(plain.message()).err == EEXIST);
  CHECK(net::read_verdict(plain.message()).text.empty());
  Recorded spoken(test::kRefusalWithText);
  CHECK(net::read_verdict(spoken.message()).err == EINVAL);
  CHECK(net::read_verdict(spoken.message()).text == "mtu less than device minimum");
  spoken.message().nlmsg_len = NLMSG_HDRLEN + 4;
  CHECK(net::read_verdict(spoken.message()).err == EBADMSG);
}

TEST_CASE("verdict_error: action, the kernel's words, the number's name; and the kind behind the number") {
  const Error error = net::verdict_error({.err = EINVAL, .text = "Invalid MTU requested."}, "change link 5");
  CHECK(error.message == "change link 5: invalid MTU requested: Invalid argument (EINVAL)");
  CHECK(error.kind == Kind::kSystem);
  CHECK(error.sys_errno == EINVAL);
  const struct {
    int err;
    Kind kind;
  } kinds[] = {{ENODEV, Kind::kNotFound}, {ESRCH, Kind::kNotFound},   {ENOENT, Kind::kNotFound},
               {EEXIST, Kind::kExists},   {EXFULL, Kind::kExhausted}, {EOPNOTSUPP, Kind::kUnsupportedKernel},
               {EPERM, Kind::kSystem}};
  for (const auto& each : kinds) CHECK(net::verdict_error({.err = each.err}, "x").kind == each.kind);
  CHECK(net::verdict_error({.err = EPERM}, "x").hint.find("root") != std::string::npos);
}

TEST_CASE("Message: what outgrows its room is remembered") {
  net::Message message(RTM_NEWLINK, 0, 64);
  message.header(ifinfomsg{}).text(1, std::string(40, 'a'));
  CHECK_FALSE(message.failed());
  message.text(1, std::string(40, 'a'));
  CHECK(message.failed());
}
