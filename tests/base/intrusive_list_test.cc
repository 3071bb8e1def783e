#include "base/intrusive_list.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <list>
#include <random>
#include <vector>

namespace mxring::base {
namespace {

// Hooks that are not at the front, so that finding the owner has something to get wrong.
struct Item {
  int number = 0;
  ListHook first;
  double between = 0;
  ListHook second;
};
using FirstList = IntrusiveList<Item, &Item::first>;
using SecondList = IntrusiveList<Item, &Item::second>;

template <class List>
std::vector<int> forward(List& list) {
  std::vector<int> numbers;
  for (Item* item = list.front(); item != nullptr; item = list.next(*item)) {
    numbers.push_back(item->number);
  }
  return numbers;
}

template <class List>
std::vector<int> backward(List& list) {
  std::vector<int> numbers;
  for (Item* item = list.back(); item != nullptr; item = list.prev(*item)) {
    numbers.push_back(item->number);
  }
  return numbers;
}

TEST(IntrusiveListTest, EmptyHasNeitherEnd) {
  FirstList list;
  EXPECT_TRUE(list.empty());
  EXPECT_EQ(list.front(), nullptr);
  EXPECT_EQ(list.back(), nullptr);
}

TEST(IntrusiveListTest, OneElementMayBeInTwoLists) {
  std::vector<Item> items(3);
  FirstList first;
  SecondList second;
  for (int i = 0; i < 3; ++i) {
    Item& item = items[static_cast<std::size_t>(i)];
    item.number = i;
    first.push_back(item);
    second.push_front(item);
  }
  EXPECT_EQ(forward(first), (std::vector<int>{0, 1, 2}));
  EXPECT_EQ(forward(second), (std::vector<int>{2, 1, 0}));
  first.remove(items[1]);
  EXPECT_FALSE(items[1].first.linked());
  EXPECT_TRUE(items[1].second.linked());
  EXPECT_EQ(forward(first), (std::vector<int>{0, 2}));
  EXPECT_EQ(backward(second), (std::vector<int>{0, 1, 2}));
}

TEST(IntrusiveListTest, AgreesWithStdListOnRandomOperations) {
  std::mt19937 random(2);
  std::vector<Item> items(50);
  for (std::size_t i = 0; i < items.size(); ++i) items[i].number = static_cast<int>(i);
  FirstList list;
  std::list<int> reference;
  for (int step = 0; step < 20'000; ++step) {
    Item& item = items[random() % items.size()];
    if (item.first.linked()) {
      list.remove(item);
      reference.remove(item.number);
    } else if (random() % 2 == 0) {
      list.push_back(item);
      reference.push_back(item.number);
    } else {
      list.push_front(item);
      reference.push_front(item.number);
    }
    ASSERT_EQ(list.size(), reference.size());
    ASSERT_EQ(list.empty(), reference.empty());
    ASSERT_EQ(forward(list), std::vector<int>(reference.begin(), reference.end()));
    ASSERT_EQ(backward(list), std::vector<int>(reference.rbegin(), reference.rend()));
  }
}

TEST(IntrusiveListDeathTest, MisuseStopsTheProcess) {
  FirstList list;
  Item item;
  EXPECT_DEATH(list.remove(item), "assertion failed");
  list.push_back(item);
  EXPECT_DEATH(list.push_back(item), "assertion failed");
  list.remove(item);
}

}  // namespace
}  // namespace mxring::base
