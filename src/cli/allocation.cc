// Counts the heap allocations of each thread, so that "none per message" can be watched in
// production and not only claimed. Replaces the global operator new and delete; the memory still
// comes from malloc, which is mimalloc's in this programme.

#include "cli/allocation.h"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>

#include "obs/allocations.h"

namespace {

thread_local std::uint64_t t_allocations = 0;

void* checked(void* memory) {
  ++t_allocations;
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

void* aligned(std::size_t size, std::align_val_t alignment) {
  const auto unit = static_cast<std::size_t>(alignment);
  return checked(std::aligned_alloc(unit, (size + unit - 1) / unit * unit));
}

}  // namespace

void* operator new(std::size_t size) {
  return checked(std::malloc(size));
}
void* operator new[](std::size_t size) {
  return checked(std::malloc(size));
}
void* operator new(std::size_t size, std::align_val_t unit) {
  return aligned(size, unit);
}
void* operator new[](std::size_t size, std::align_val_t unit) {
  return aligned(size, unit);
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete[](void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}
void operator delete[](void* memory, std::size_t) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::align_val_t) noexcept {
  std::free(memory);
}
void operator delete[](void* memory, std::align_val_t) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept {
  std::free(memory);
}
void operator delete[](void* memory, std::size_t, std::align_val_t) noexcept {
  std::free(memory);
}

namespace mxring::cli {

void install_allocation_counter() {
  obs::set_allocation_counter([] { return t_allocations; });
}

}  // namespace mxring::cli
