// The guard's program in a small interpreter of classic BPF; the kernel runs the same frames in
// tests/system/net/guard_test.cc.
#include <doctest/doctest.h>
#include <linux/filter.h>

#include <optional>

#include "lib/net/tc_guard.h"
#include "tests/unit/net/guard_frames.h"

using namespace slicer;

namespace {

struct Machine {
  const test::FrameBytes& frame;
  bool tagged = false;
  uint32_t a = 0;
  uint32_t x = 0;
  uint32_t cells[16] = {};

  std::optional<uint32_t> load(uint32_t offset, uint32_t size) const {
    if (size_t{offset} + size > frame.size()) return std::nullopt;
    uint32_t value = 0;
    for (uint32_t i = 0; i < size; ++i) value = value << 8U | frame[offset + i];
    return value;
  }
};

constexpr uint32_t kVlanTagPresent = static_cast<uint32_t>(SKF_AD_OFF + SKF_AD_VLAN_TAG_PRESENT);

uint32_t size_of(uint16_t code) {
  switch (BPF_SIZE(code)) {
    case BPF_W:
      return 4;
    case BPF_H:
      return 2;
    default:
      return 1;
  }
}

/// False: a load beyond the end.
bool do_load(Machine& m, const net::BpfInstruction& i) {
  std::optional<uint32_t> value;
  switch (BPF_MODE(i.code)) {
    case BPF_LEN:
      value = static_cast<uint32_t>(m.frame.size());
      break;
    case BPF_MEM:
      value = m.cells[i.k];
      break;
    case BPF_IND:
      value = m.load(m.x + i.k, size_of(i.code));
      break;
    default:
      value = i.k == kVlanTagPresent ? uint32_t{m.tagged} : m.load(i.k, size_of(i.code));
  }
  m.a = value.value_or(0);
  return value.has_value();
}

bool do_load_x(Machine& m, const net::BpfInstruction& i) {
  if (BPF_MODE(i.code) == BPF_IMM) return m.x = i.k, true;
  REQUIRE(BPF_MODE(i.code) == BPF_MSH);
  const std::optional<uint32_t> byte = m.load(i.k, 1);
  m.x = (byte.value_or(0) & 15U) * 4;
  return byte.has_value();
}

void do_math(Machine& m, const net::BpfInstruction& i) {
  const uint32_t operand = BPF_SRC(i.code) == BPF_X ? m.x : i.k;
  switch (BPF_OP(i.code)) {
    case BPF_ADD:
      m.a += operand;
      break;
    case BPF_SUB:
      m.a -= operand;
      break;
    case BPF_MUL:
      m.a *= operand;
      break;
    case BPF_AND:
      m.a &= operand;
      break;
    default:
      FAIL("unknown operation");
  }
}

size_t jump_of(const Machine& m, const net::BpfInstruction& i) {
  const uint32_t operand = BPF_SRC(i.code) == BPF_X ? m.x : i.k;
  bool holds = false;
  switch (BPF_OP(i.code)) {
    case BPF_JA:
      return i.k;
    case BPF_JEQ:
      holds = m.a == operand;
      break;
    case BPF_JGE:
      holds = m.a >= operand;
      break;
    case BPF_JSET:
      holds = (m.a & operand) != 0;
      break;
    default:
      FAIL("unknown jump");
  }
  return holds ? i.jump_true : i.jump_false;
}

/// What the kernel would return: 0 when a load leaves the frame.
uint32_t run(const std::vector<net::BpfInstruction>& program, const test::FrameBytes& frame, bool tagged = false) {
  Machine m{.frame = frame, .tagged = tagged};
  for (size_t at = 0; at < program.size(); ++at) {
    const net::BpfInstruction& i = program[at];
    switch (BPF_CLASS(i.code)) {
      case BPF_LD:
        if (!do_load(m, i)) return 0;
        break;
      case BPF_LDX:
        if (!do_load_x(m, i)) return 0;
        break;
      case BPF_ST:
        m.cells[i.k] = m.a;
        break;
      case BPF_ALU:
        do_math(m, i);
        break;
      case BPF_JMP:
        at += jump_of(m, i);
        break;
      case BPF_RET:
        return i.k;
      default:
        (BPF_MISCOP(i.code) == BPF_TAX ? m.x = m.a : m.a = m.x);
    }
  }
  FAIL("the program has no end");
  return 0;
}

}  // namespace

TEST_CASE("build_guard: passes the guest's own frames and drops all others") {
  const auto program = net::build_guard(test::guarded_guest()).value();
  for (const test::GuardCase& each : test::guard_cases()) {
    CAPTURE(each.what);
    CHECK(run(program, each.frame) == (each.passes ? net::kGuardPass : net::kGuardDrop));
  }
}

TEST_CASE("build_guard: no frame leaves the program by a load beyond its end") {
  // The kernel lets such a frame pass.
  const auto program = net::build_guard(test::guarded_guest()).value();
  for (const test::GuardCase& each : test::guard_cases()) {
    for (size_t length = 0; length < each.frame.size(); ++length) {
      CAPTURE(each.what);
      CAPTURE(length);
      CHECK(run(program, test::cut(each.frame, length)) != 0);
    }
  }
}

TEST_CASE("build_guard: a frame with a VLAN tag passes only where tags are allowed") {
  net::GuardSpec spec = test::guarded_guest();
  const test::FrameBytes frame = test::ipv4_frame("192.0.2.7");
  CHECK(run(net::build_guard(spec).value(), frame, true) == net::kGuardDrop);
  spec.allow_vlan_tags = true;
  CHECK(run(net::build_guard(spec).value(), frame, true) == net::kGuardPass);
  CHECK(run(net::build_guard(spec).value(), test::ipv4_frame("192.0.2.9"), true) == net::kGuardDrop);
}

TEST_CASE("build_guard: without source checks, MAC and ethertype decide") {
  net::GuardSpec spec = test::guarded_guest();
  spec.check_sources = false;
  const auto program = net::build_guard(spec).value();
  CHECK(run(program, test::ipv4_frame("192.0.2.9")) == net::kGuardPass);
  CHECK(run(program, test::arp_frame({.sender_ip = "192.0.2.1"})) == net::kGuardPass);
  CHECK(run(program, test::nd_frame({.type = 136})) == net::kGuardPass);
  CHECK(run(program, test::ipv4_frame("192.0.2.7", test::kOtherMac)) == net::kGuardDrop);
  CHECK(run(program, test::FrameWriter().ether(test::kOwnMac, 0x88cc).zeros(46).done()) == net::kGuardDrop);
}

TEST_CASE("build_guard: a family without addresses is closed but for what a guest needs to find its place") {
  net::GuardSpec spec = test::guarded_guest();
  spec.sources = {addr::parse_ip("192.0.2.7").value()};
  const auto v4 = net::build_guard(spec).value();
  CHECK(run(v4, test::nd_frame({.source = "2001:db8::7"})) == net::kGuardDrop);
  CHECK(run(v4, test::nd_frame({.source = test::kOwnLinkLocal})) == net::kGuardPass);
  spec.sources = {addr::parse_ip("2001:db8::7").value()};
  const auto v6 = net::build_guard(spec).value();
  CHECK(run(v6, test::ipv4_frame("192.0.2.7")) == net::kGuardDrop);
  CHECK(run(v6, test::dhcp_frame({})) == net::kGuardPass);
}

TEST_CASE("build_guard: 100 addresses of each family fit, every one passes, 1,000 are refused") {
  net::GuardSpec spec = test::guarded_guest();
  spec.sources.clear();
  const auto v4 = addr::parse_ip("198.51.100.0").value(), v6 = addr::parse_ip("2001:db8:1::").value();
  for (unsigned i = 0; i < 100; ++i) {
    spec.sources.push_back(v4.plus(i));
    spec.sources.push_back(v6.plus(i));
  }
  const auto program = net::build_guard(spec).value();
  CHECK(program.size() <= 4096);
  CHECK(run(program, test::ipv4_frame("198.51.100.99")) == net::kGuardPass);
  CHECK(run(program, test::ipv4_frame("198.51.100.100")) == net::kGuardDrop);
  CHECK(run(program, test::nd_frame({.source = "2001:db8:1::63"})) == net::kGuardPass);
  CHECK(run(program, test::nd_frame({.source = "2001:db8:1::64"})) == net::kGuardDrop);
  for (unsigned i = 100; i < 1000; ++i) spec.sources.push_back(v6.plus(i));
  const auto refused = net::build_guard(spec);
  REQUIRE(!refused);
  CHECK(refused.error().kind == Kind::kInvalidConfig);
}
