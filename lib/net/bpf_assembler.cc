#include "lib/net/bpf_assembler.h"

#include <linux/filter.h>

namespace slicer::net {

BpfAssembler::Label BpfAssembler::make_label() {
  labels_.push_back(0);
  return {labels_.size() - 1};
}
void BpfAssembler::place(Label label) { labels_[label.number] = steps_.size(); }

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
// NOLINTNEXTLINE(misc-redundant-expression): that two of the words are 0 is <linux/bpf_common.h>'s business
void BpfAssembler::add(uint32_t value) { emit(BPF_ALU | BPF_ADD | BPF_K, value); }
void BpfAssembler::multiply(uint32_t value) { emit(BPF_ALU | BPF_MUL | BPF_K, value); }
void BpfAssembler::add_x() { emit(BPF_ALU | BPF_ADD | BPF_X, 0); }
void BpfAssembler::subtract_x() { emit(BPF_ALU | BPF_SUB | BPF_X, 0); }
void BpfAssembler::copy_to_x() { emit(BPF_MISC | BPF_TAX, 0); }
void BpfAssembler::copy_from_x() { emit(BPF_MISC | BPF_TXA, 0); }
void BpfAssembler::store(uint32_t cell) { emit(BPF_ST, cell); }
void BpfAssembler::load_stored(uint32_t cell) { emit(BPF_LD | BPF_MEM, cell); }

void BpfAssembler::jump(Label to) { emit(BPF_JMP | BPF_JA, 0, Branch::kAlways, to); }
void BpfAssembler::jump_if_equal(uint32_t value, Label to) {
  emit(BPF_JMP | BPF_JEQ | BPF_K, value, Branch::kIfTrue, to);
}
void BpfAssembler::jump_unless_equal(uint32_t value, Label to) {
  emit(BPF_JMP | BPF_JEQ | BPF_K, value, Branch::kIfFalse, to);
}
void BpfAssembler::jump_if_below(uint32_t value, Label to) {
  emit(BPF_JMP | BPF_JGE | BPF_K, value, Branch::kIfFalse, to);
}
void BpfAssembler::jump_if_below_x(Label to) { emit(BPF_JMP | BPF_JGE | BPF_X, 0, Branch::kIfFalse, to); }
void BpfAssembler::jump_if_any_bit(uint32_t mask, Label to) {
  emit(BPF_JMP | BPF_JSET | BPF_K, mask, Branch::kIfTrue, to);
}
void BpfAssembler::give(uint32_t verdict) { emit(BPF_RET | BPF_K, verdict); }

std::vector<size_t> BpfAssembler::places(const std::vector<bool>& far) const {
  std::vector<size_t> places(steps_.size() + 1, 0);
  for (size_t i = 0; i < steps_.size(); ++i) places[i + 1] = places[i] + (far[i] ? 2 : 1);
  return places;
}

std::vector<BpfInstruction> BpfAssembler::finish() const {
  std::vector<bool> far(steps_.size(), false);
  std::vector<size_t> at = places(far);
  for (bool changed = true; changed; at = places(far)) {  // lengthening one may push another out of reach
    changed = false;
    for (size_t i = 0; i < steps_.size(); ++i) {
      const bool conditional = steps_[i].branch == Branch::kIfTrue || steps_[i].branch == Branch::kIfFalse;
      if (far[i] || !conditional || at[labels_[steps_[i].label]] - at[i] - 1 <= 255) continue;
      far[i] = changed = true;
    }
  }
  std::vector<BpfInstruction> program;
  for (size_t i = 0; i < steps_.size(); ++i) {
    const Step& step = steps_[i];
    BpfInstruction one{.code = step.code, .k = step.k};
    if (step.branch == Branch::kNone) {
      program.push_back(one);
      continue;
    }
    const size_t distance = at[labels_[step.label]] - at[i] - 1;
    if (step.branch == Branch::kAlways) one.k = static_cast<uint32_t>(distance);
    uint8_t& taken = step.branch == Branch::kIfTrue ? one.jump_true : one.jump_false;
    uint8_t& other = step.branch == Branch::kIfTrue ? one.jump_false : one.jump_true;
    if (far[i]) other = 1;
    if (!far[i] && step.branch != Branch::kAlways) taken = static_cast<uint8_t>(distance);
    program.push_back(one);
    if (far[i]) program.push_back({.code = BPF_JMP | BPF_JA, .k = static_cast<uint32_t>(distance - 1)});
  }
  return program;
}

}  // namespace slicer::net
