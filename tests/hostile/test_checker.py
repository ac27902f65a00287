"""The checker can fail: a history of each kind that a disk could not have had, and its neighbour that
it could."""

import unittest

from checker import check
from history import SECTOR, ZERO, History, content


class CheckerTest(unittest.TestCase):
    def setUp(self):
        self.history = History()

    def begin(self, **options):
        return self.history.begin_write(1, 0, 8, **options)

    def write(self, ok=True, **options):
        write = self.begin(**options)
        self.history.end_write(write, ok)
        return write

    def end_read(self, read, *found):
        """found: the write of each half, or of all; None: nothing yet."""
        stamps = [ZERO if write is None else write.stamp for write in found]
        self.history.end_read(read, b"".join(content(s, read.count // len(found)) for s in stamps))

    def read(self, *found):
        self.end_read(self.history.begin_read(0, 8, "reader"), *found)

    def flush(self, ok=True):
        self.history.end_flush(self.history.begin_flush(), ok)

    def assert_right(self):
        self.assertEqual([], check(self.history))

    def assert_wrong(self, text):
        wrong = check(self.history)
        self.assertTrue(wrong, "nothing was found")
        self.assertIn(text, wrong[0])

    # -- linearizable --

    def test_latest_value(self):
        self.write()
        self.read(self.write())
        self.assert_right()

    def test_older_value(self):
        old = self.write()
        self.write()
        self.read(old)
        self.assert_wrong("meanwhile")

    def test_read_beside_a_write_finds_either(self):
        old = self.write()
        read = self.history.begin_read(0, 8, "reader")
        self.write()
        self.end_read(read, old)
        self.assert_right()

    def test_reads_do_not_go_back(self):
        old = self.write()
        new = self.begin()
        self.read(new)
        self.read(old)
        self.history.end_write(new, True)
        self.assert_wrong("found")

    def test_writes_side_by_side_have_one_order(self):
        one, other = self.begin(), self.begin()
        self.history.end_write(one, True)
        self.history.end_write(other, True)
        self.read(one)
        self.read(one)
        self.assert_right()
        self.read(other)
        self.assert_wrong("found")

    def test_failed_write_is_there_or_not(self):
        old = self.write()
        new = self.write(ok=False)
        self.read(new)
        self.assert_right()
        self.read(old)
        self.assert_wrong("found")

    def test_failed_write_does_not_come_later(self):
        old = self.write()
        new = self.write(ok=False)
        self.read(old)
        self.assert_right()
        self.read(new)
        self.assert_wrong("found")

    def test_dead_connection_writes_late(self):
        first = self.begin(sent_again=True)  # on a connection that dies, and again on another
        self.history.end_write(first, True)
        self.read(self.write())
        self.assert_right()
        self.read(first)
        self.assert_wrong("found")

    def test_unanswered_write_is_decided_by_the_end_of_the_server(self):
        old = self.write()
        new = self.begin()
        self.history.server_ended()
        self.read(old)
        self.read(new)
        self.assert_wrong("found")

    def test_never_written(self):
        self.write()
        self.history.end_read(self.history.begin_read(0, 8, "reader"), b"\x55" * 8 * SECTOR)
        self.assert_wrong("never written")

    def test_zeros(self):
        old = self.write()
        self.write(zero=True)
        self.read(None)
        self.assert_right()
        self.read(old)
        self.assert_wrong("found")

    def test_zeros_out_of_nothing(self):
        self.write()
        self.read(None)
        self.assert_wrong("zeros")

    # -- as a whole --

    def test_in_part(self):
        old = self.write()
        self.read(self.write(), old)
        self.assert_wrong("meanwhile")

    def test_in_part_while_it_is_written(self):
        old, new = self.write(), self.begin()
        self.read(new, old)
        self.history.end_write(new, True)
        self.assert_wrong("both")

    def test_failed_in_part(self):
        old, new = self.write(), self.write(ok=False)
        self.read(new, old)
        self.assert_right()

    # -- what is flushed --

    def test_unflushed_may_be_lost(self):
        old = self.write()
        self.flush()
        self.write()
        self.history.server_ended()
        self.history.lose_at_rest()
        self.read(old)
        self.assert_right()

    def test_flushed_is_lost(self):
        old = self.write()
        self.write()
        self.flush()
        self.history.server_ended()
        self.history.lose_at_rest()
        self.read(old)
        self.assert_wrong("flushed was")

    def test_fua_is_lost(self):
        old = self.write()
        self.write(fua=True)
        self.history.server_ended()
        self.history.lose_at_rest()
        self.read(old)
        self.assert_wrong("flushed was")

    def test_flush_that_began_too_early(self):
        old = self.write()
        flush = self.history.begin_flush()
        self.write()
        self.history.end_flush(flush, True)
        self.history.lose_at_rest()
        self.read(old)
        self.assert_right()

    def test_flush_of_the_next_server(self):
        old = self.write()
        self.write()
        self.history.server_ended()
        self.flush()
        self.history.lose_at_rest()
        self.read(old)
        self.assert_wrong("flushed was")

    def test_failed_flush_that_succeeds_later(self):
        old = self.write()
        self.write()
        loss = self.history.begin_loss()
        self.flush()
        self.history.end_loss(loss)
        self.read(old)
        self.assert_wrong("flushed was")

    def test_failed_flush_that_was_told(self):
        old = self.write()
        self.write()
        loss = self.history.begin_loss()
        self.flush(ok=False)
        self.flush()
        self.history.end_loss(loss)
        self.read(old)
        self.assert_right()

    def test_crash_is_decided_once(self):
        old, new = self.write(), self.write()
        self.history.server_ended()
        self.history.lose_at_rest()
        self.read(old)
        self.history.lose_at_rest()
        self.assert_right()
        self.read(new)
        self.assert_wrong("decided")

    def test_undecided_within_a_life(self):
        old, new = self.write(), self.write()
        self.history.server_ended()
        self.history.lose_at_rest()
        self.read(old)
        self.read(new)
        self.assert_wrong("found")

    def test_sent_again_after_a_loss(self):
        old = self.write()
        self.flush()
        new = self.begin(sent_again=True)
        self.history.server_ended()
        self.history.lose_at_rest()
        self.history.end_write(new, True)
        self.read(old)
        self.assert_wrong("meanwhile")


if __name__ == "__main__":
    unittest.main()
