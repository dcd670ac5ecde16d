#include "apps/loops/arithmetic_task.hpp"

#include <boost/test/unit_test.hpp>

using namespace troupe::loops;

BOOST_AUTO_TEST_CASE(questions_of_a_split_belong_to_it_and_repeat_with_the_seed) {
  for (const task_split split : {task_split::train, task_split::held_out}) {
    arithmetic_task first(7, split);
    arithmetic_task again(7, split);
    for (int i = 0; i < 200; ++i) {
      const question asked = first.next();
      BOOST_TEST((asked == again.next()));
      BOOST_TEST((split_of(asked.prompt) == split));
    }
  }
}

BOOST_AUTO_TEST_CASE(the_answer_is_the_largest_digit) {
  arithmetic_task task(1, task_split::train);
  for (int i = 0; i < 200; ++i) {
    const question asked = task.next();
    char largest = '0';
    for (const char c : asked.prompt) {
      if (c >= '0' && c <= '9' && c > largest) largest = c;
    }
    BOOST_TEST(asked.answer == std::string(1, largest) + "\n");
    BOOST_TEST(reward_of(asked, asked.answer) == 1.0);
    BOOST_TEST(reward_of(asked, asked.answer.substr(0, 1)) == 0.0);
  }
}

BOOST_AUTO_TEST_CASE(demonstrations_are_digits_of_the_question_and_mostly_wrong) {
  arithmetic_task task(3, task_split::train);
  int right = 0;
  for (int i = 0; i < 1000; ++i) {
    const question asked = task.next();
    const std::string shown = task.demonstration(asked);
    BOOST_TEST(asked.prompt.find(shown[0]) != std::string::npos);
    right += shown == asked.answer ? 1 : 0;
  }
  BOOST_TEST(right > 200);
  BOOST_TEST(right < 420);
}
