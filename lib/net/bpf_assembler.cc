#include "lib/net/bpf_assembler.h"

#include <linux/filter.h>

namespace slicer::net {

void BpfAssembler::emit(uint16_t code, uint32_t k, uint8_t jump_true, uint8_t jump_false) {
  code_.push_back({.code = code, .jump_true = jump_true, .jump_false = jump_false, .k = k});
}

BpfAssembler::Label BpfAssembler::make_label() {
  labels_.push_back(0);
  return {labels_.size() - 1};
}
void BpfAssembler::place(Label label) { labels_[label.number] = code_.size(); }

void BpfAssembler::load_word(uint32_t offset) { emit(BPF_LD | BPF_W | BPF_ABS, offset); }
void BpfAssembler::load_half(uint32_t offset) { emit(BPF_LD | BPF_H | BPF_ABS, offset); }
void BpfAssembler::load_byte(uint32_t offset) { emit(BPF_LD | BPF_B | BPF_ABS, offset); }
void BpfAssembler::load_half_at_x(uint32_t offset) { emit(BPF_LD | BPF_H | BPF_IND, offset); }
void BpfAssembler::load_byte_at_x(uint32_t offset) { emit(BPF_LD | BPF_B | BPF_IND, offset); }
void BpfAssembler::load_length() { emit(BPF_LD | BPF_W | BPF_LEN, 0); }
void BpfAssembler::load_vlan_tag() {
  emit(BPF_LD | BPF_B | BPF_ABS, static_cast<uint32_t>(SKF_AD_OFF + SKF_AD_VLAN_TAG_PRESENT));
}
void BpfAssembler::load_constant_x(uint32_t value) { emit(BPF_LDX | BPF_IMM, value); }
void BpfAssembler::load_ip_header_length_x(uint32_t offset) { emit(BPF_LDX | BPF_B | BPF_MSH, offset); }
void BpfAssembler::and_with(uint32_t mask) { emit(BPF_ALU | BPF_AND | BPF_K, mask); }
void BpfAssembler::add(uint32_t value) { emit(BPF_ALU | BPF_ADD | BPF_K, value); }
void BpfAssembler::multiply(uint32_t value) { emit(BPF_ALU | BPF_MUL | BPF_K, value); }
void BpfAssembler::add_x() { emit(BPF_ALU | BPF_ADD | BPF_X, 0); }
void BpfAssembler::subtract_x() { emit(BPF_ALU | BPF_SUB | BPF_X, 0); }
void BpfAssembler::copy_to_x() { emit(BPF_MISC | BPF_TAX, 0); }
void BpfAssembler::copy_from_x() { emit(BPF_MISC | BPF_TXA, 0); }
void BpfAssembler::store(uint32_t cell) { emit(BPF_ST, cell); }
void BpfAssembler::load_stored(uint32_t cell) { emit(BPF_LD | BPF_MEM, cell); }

void BpfAssembler::jump(Label to) {
  jumps_.push_back({.at = code_.size(), .label = to.number, .near = false});
  emit(BPF_JMP | BPF_JA, 0);
}
void BpfAssembler::jump_if_equal(uint32_t value, Label to) {
  emit(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1);
  jump(to);
}
void BpfAssembler::jump_unless_equal(uint32_t value, Label to) {
  emit(BPF_JMP | BPF_JEQ | BPF_K, value, 1, 0);
  jump(to);
}
void BpfAssembler::jump_if_below(uint32_t value, Label to) {
  emit(BPF_JMP | BPF_JGE | BPF_K, value, 1, 0);
  jump(to);
}
void BpfAssembler::jump_if_below_x(Label to) {
  emit(BPF_JMP | BPF_JGE | BPF_X, 0, 1, 0);
  jump(to);
}
void BpfAssembler::jump_unless_equal_near(uint32_t value, Label to) {
  jumps_.push_back({.at = code_.size(), .label = to.number, .near = true});
  emit(BPF_JMP | BPF_JEQ | BPF_K, value);
}
void BpfAssembler::jump_if_any_bit(uint32_t mask, Label to) {
  emit(BPF_JMP | BPF_JSET | BPF_K, mask, 0, 1);
  jump(to);
}
void BpfAssembler::give(uint32_t verdict) { emit(BPF_RET | BPF_K, verdict); }

std::vector<BpfInstruction> BpfAssembler::finish() const {
  std::vector<BpfInstruction> program = code_;
  for (const Jump& each : jumps_) {
    const auto distance = static_cast<uint32_t>(labels_[each.label] - each.at - 1);
    if (each.near)
      program[each.at].jump_false = static_cast<uint8_t>(distance);
    else
      program[each.at].k = distance;
  }
  return program;
}

}  // namespace slicer::net
