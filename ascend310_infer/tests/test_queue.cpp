#include "bounded_queue.h"

#include <atomic>
#include <chrono>
#include <thread>

#include <gtest/gtest.h>

namespace maskrcnn {
namespace {

using namespace std::chrono_literals;

TEST(BoundedQueue, ValuesComeOutInOrderAndNeverMoreThanItsCapacityIsInside) {
    BoundedQueue<int> queue(3);
    std::atomic<int> pushed{0};
    std::thread producer([&] {
        for (int i = 0; i < 1000; ++i) {
            ASSERT_TRUE(queue.push(i));
            ++pushed;
        }
        queue.close();
    });
    int popped = 0;
    while (const auto value = queue.pop()) {
        EXPECT_EQ(*value, popped++);
        EXPECT_LE(pushed, popped + 3 + 1);  // one more may have been let in after pop() and before this line
    }
    producer.join();
    EXPECT_EQ(popped, 1000);
}

TEST(BoundedQueue, AFullQueueWaits) {
    BoundedQueue<int> queue(1);
    queue.push(1);
    std::atomic<bool> second{false};
    std::thread producer([&] {
        queue.push(2);
        second = true;
    });
    std::this_thread::sleep_for(20ms);
    EXPECT_FALSE(second);
    EXPECT_EQ(queue.pop(), 1);
    producer.join();
    EXPECT_EQ(queue.pop(), 2);
}

TEST(BoundedQueue, ClosingWakesThoseWhoWait) {
    BoundedQueue<int> queue(1);
    std::thread consumer([&] { EXPECT_EQ(queue.pop(), std::nullopt); });
    std::this_thread::sleep_for(5ms);
    queue.close();
    consumer.join();
    EXPECT_FALSE(queue.push(1));
}

TEST(BoundedQueue, WhatIsInsideOutlivesClosingButNotAbandoning) {
    BoundedQueue<int> queue(2);
    queue.push(1);
    queue.close();
    EXPECT_EQ(queue.pop(), 1);
    EXPECT_EQ(queue.pop(), std::nullopt);

    BoundedQueue<int> abandoned(1);
    abandoned.push(1);
    std::thread producer([&] { EXPECT_FALSE(abandoned.push(2)); });
    std::this_thread::sleep_for(5ms);
    abandoned.abandon();
    producer.join();
    EXPECT_EQ(abandoned.pop(), std::nullopt);
}

}  // namespace
}  // namespace maskrcnn
