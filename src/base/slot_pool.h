// Fixed pool of objects addressed by {slot, generation}. The generation changes whenever a slot is
// released, so a completion that names an object which has gone is recognised as stale.
// Single-threaded. Slots are built in blocks on first use (memory follows the peak, not the limit)
// and are never returned to the allocator; an object is destroyed on release.
#pragma once

#include <cstdint>
#include <memory>
#include <new>
#include <utility>
#include <vector>

#include "base/assert.h"

namespace mxring::base {

struct SlotRef {
  std::uint32_t slot = 0;
  std::uint32_t generation = 0;  // 24 bits: it travels in a ring tag
};

template <class T>
class SlotPool {
 public:
  using Ref = SlotRef;
  static constexpr std::uint32_t kGenerationMask = 0xFFFFFF;

  explicit SlotPool(std::uint32_t slots_max) : slots_max_(slots_max) {}
  SlotPool(const SlotPool&) = delete;
  SlotPool& operator=(const SlotPool&) = delete;
  ~SlotPool() {
    for (auto& block : blocks_) {
      for (Cell& cell : block->cells) {
        if (cell.live) cell.object()->~T();
      }
    }
  }

  // nullptr when slots_max objects are live. *ref is set before the object is built, so it may be
  // passed on as one of the arguments.
  template <class... Args>
  T* acquire(Ref* ref, Args&&... args) {
    if (free_.empty() && !grow()) return nullptr;
    const std::uint32_t slot = free_.back();
    free_.pop_back();
    Cell& cell = at(slot);
    *ref = Ref{slot, cell.generation};
    T* object = new (cell.storage) T(std::forward<Args>(args)...);
    cell.live = true;
    ++live_;
    return object;
  }

  void release(Ref ref) {
    Cell& cell = at(ref.slot);
    MXRING_ASSERT(cell.live && cell.generation == ref.generation);
    cell.object()->~T();
    cell.live = false;
    cell.generation = (cell.generation + 1) & kGenerationMask;
    free_.push_back(ref.slot);
    --live_;
  }

  // nullptr for a stale reference.
  T* find(Ref ref) {
    if (ref.slot >= blocks_.size() * kBlock) return nullptr;
    Cell& cell = at(ref.slot);
    return cell.live && cell.generation == ref.generation ? cell.object() : nullptr;
  }

  std::uint32_t live() const { return live_; }
  std::uint32_t slots_max() const { return slots_max_; }

  template <class F>
  void for_each(F&& f) {
    for (auto& block : blocks_) {
      for (Cell& cell : block->cells) {
        if (cell.live) f(*cell.object());
      }
    }
  }

 private:
  static constexpr std::uint32_t kBlock = 64;
  struct Cell {
    alignas(T) unsigned char storage[sizeof(T)];
    std::uint32_t generation = 1;
    bool live = false;
    T* object() { return std::launder(reinterpret_cast<T*>(storage)); }
  };
  struct Block {
    Cell cells[kBlock];
  };

  Cell& at(std::uint32_t slot) { return blocks_[slot / kBlock]->cells[slot % kBlock]; }

  bool grow() {
    const auto base = static_cast<std::uint32_t>(blocks_.size() * kBlock);
    if (base >= slots_max_) return false;
    blocks_.push_back(std::make_unique<Block>());
    free_.reserve(base + kBlock);
    for (std::uint32_t i = kBlock; i-- > 0;) {
      if (base + i < slots_max_) free_.push_back(base + i);
    }
    return true;
  }

  std::uint32_t slots_max_;
  std::uint32_t live_ = 0;
  std::vector<std::unique_ptr<Block>> blocks_;
  std::vector<std::uint32_t> free_;
};

}  // namespace mxring::base
