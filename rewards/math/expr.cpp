#include "rewards/math/expr.h"

#include <algorithm>
#include <cstring>

namespace hone {
namespace {

constexpr size_t kFirstTable = 64;

uint32_t mix(uint32_t hash, uint64_t value) {
  const uint64_t mixed = (hash ^ value) * 0x9E3779B97F4A7C15u;
  return static_cast<uint32_t>(mixed >> 29);
}

uint32_t hash_of(const Node& node) {
  uint32_t hash = mix(static_cast<uint32_t>(node.op) * 64 + node.flags, node.code);
  for (const auto* arg : node.args) hash = mix(hash, arg->id);
  for (const char c : node.name) hash = mix(hash, static_cast<unsigned char>(c));
  return node.value ? mix(hash, node.value->hash()) : hash;
}

bool same(const Node& a, const Node& b) {
  if (a.hash != b.hash || a.op != b.op || a.flags != b.flags || a.code != b.code || a.name != b.name) return false;
  if (a.value && !(*a.value == *b.value)) return false;
  return std::ranges::equal(a.args, b.args);
}

}  // namespace

Arena::Arena() : table_(kFirstTable) {}

Expr Arena::number(const Rational& value, uint8_t flags) {
  Node node;
  node.op = Op::kNumber;
  node.flags = flags;
  node.value = &value;
  return intern(node);
}

Expr Arena::symbol(std::string_view name, uint8_t flags) { return make(Op::kSymbol, {}, 0, name, flags); }

Expr Arena::make(Op op, std::span<const Expr> args, uint32_t code, std::string_view name, uint8_t flags) {
  Node node;
  node.op = op;
  node.flags = flags;
  node.code = code;
  node.args = args;
  node.name = name;
  return intern(node);
}

Expr Arena::intern(const Node& wanted) {
  Node node = wanted;
  node.hash = hash_of(node);
  size_t slot = node.hash & (table_.size() - 1);
  for (; table_[slot]; slot = (slot + 1) & (table_.size() - 1)) {
    if (same(*table_[slot], node)) return table_[slot];
  }
  return insert(node, slot);
}

Expr Arena::insert(const Node& wanted, size_t slot) {
  auto* node = new (memory_.allocate(sizeof(Node), alignof(Node))) Node(wanted);
  node->id = count_++;
  node->ops = 1u << static_cast<unsigned>(wanted.op);
  for (const auto* arg : wanted.args) node->ops |= arg->ops;
  bytes_ += sizeof(Node) + wanted.args.size_bytes() + wanted.name.size();
  if (!wanted.args.empty()) {
    auto* args = static_cast<Expr*>(memory_.allocate(wanted.args.size_bytes(), alignof(Expr)));
    std::ranges::copy(wanted.args, args);
    node->args = {args, wanted.args.size()};
  }
  if (!wanted.name.empty()) {
    auto* name = static_cast<char*>(memory_.allocate(wanted.name.size(), 1));
    std::memcpy(name, wanted.name.data(), wanted.name.size());
    node->name = {name, wanted.name.size()};
  }
  if (wanted.value) {
    numbers_.push_back(std::make_unique<const Rational>(*wanted.value));
    node->value = numbers_.back().get();
    bytes_ += sizeof(Rational) + (wanted.value->bits() > 64 ? wanted.value->bits() / 4 : 0);
  }
  table_[slot] = node;
  if (count_ * 2 > table_.size()) grow();
  return node;
}

void Arena::grow() {
  std::vector<Expr> larger(table_.size() * 4);
  for (const auto* node : table_) {
    if (!node) continue;
    size_t slot = node->hash & (larger.size() - 1);
    while (larger[slot]) slot = (slot + 1) & (larger.size() - 1);
    larger[slot] = node;
  }
  table_ = std::move(larger);
}

Expr Arena::import(Expr tree) {
  std::vector<Expr> here(tree->id + 1);
  Exprs args;
  for (const auto* node : nodes_of(tree)) {
    args.clear();
    for (const auto* arg : node->args) args.push_back(here[arg->id]);
    here[node->id] =
        node->value ? number(*node->value, node->flags) : make(node->op, args, node->code, node->name, node->flags);
  }
  return here[tree->id];
}

Exprs nodes_of(Expr tree) {
  std::vector<bool> seen(tree->id + 1);
  Exprs found, open{tree};
  seen[tree->id] = true;
  while (!open.empty()) {
    const auto* node = open.back();
    open.pop_back();
    found.push_back(node);
    for (const auto* arg : node->args) {
      if (seen[arg->id]) continue;
      seen[arg->id] = true;
      open.push_back(arg);
    }
  }
  std::ranges::sort(found, {}, &Node::id);
  return found;
}

bool contains(Expr tree, Op op) { return (tree->ops >> static_cast<unsigned>(op)) & 1; }

Exprs symbols_of(Expr tree) {
  auto found = nodes_of(tree);
  std::erase_if(found, [](Expr node) { return node->op != Op::kSymbol; });
  std::ranges::sort(found, {}, &Node::name);
  return found;
}

Relation flipped(Relation relation) {
  switch (relation) {
    case Relation::kLess:
      return Relation::kGreater;
    case Relation::kLessEqual:
      return Relation::kGreaterEqual;
    case Relation::kGreater:
      return Relation::kLess;
    case Relation::kGreaterEqual:
      return Relation::kLessEqual;
    default:
      return relation;
  }
}

}  // namespace hone
