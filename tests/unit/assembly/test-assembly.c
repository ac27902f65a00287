/* Proves what sf_assemble says of each constellation that an operator can meet: one case, one
 * constellation, one verdict for each leg. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <surefoot/assembly.h>

#include "assembly/blank.h"

enum kind {
  GOOD,
  GONE,
  ERROR,
  OTHER_NAME,
  OTHER_UUID,
  SWAPPED,
  RENAMED,
  IMPOSTOR,
  RESIZED,
  GROWN,
  GROWN_SHORT,
  NOT_GROWN_SHORT,
  SHORT,
  DISCARDED
};

/* One leg as a case describes it.  GOOD with `in_sync` "ab": holds record term.change naming legs a
 * and b.  line: 'A', the first; 'B' and 'C' were forked off A at 2.3 by force; 'D' off B at 5.1. */
struct leg {
  enum kind kind;
  unsigned term, change;
  const char *in_sync;
  unsigned claim; /* 0: as the term */
  const char *faulty;
  char line; /* 0: 'A' */
  int error; /* ERROR, GONE */
  bool clean;
  bool doubtful; /* a copy of its superblock cannot be read */
};

struct one_case {
  const char *proves;
  unsigned legs, min_legs;
  unsigned config_min_legs; /* 0: as min_legs */
  struct leg leg[5];
  bool force;
  const char *verdicts; /* a letter a leg, see letter_of() */
  bool may_start, forced;
  unsigned next_term; /* 0: not asked */
  const char *record; /* of the reference; NULL: there is none */
  uint64_t bytes;     /* the size that it starts with; 0: not asked */
  const char *says[4];
};

static const char letters[] = {
    [SF_LEG_ABSENT] = '-',    [SF_LEG_CURRENT] = 'C',     [SF_LEG_BEHIND] = 'b',
    [SF_LEG_FAULTY] = 'f',    [SF_LEG_UNFORMATTED] = 'u', [SF_LEG_DAMAGED] = 'd',
    [SF_LEG_TOO_NEW] = 'n',   [SF_LEG_FOREIGN] = 'x',     [SF_LEG_SPLIT_BRAIN] = '!',
    [SF_LEG_TOO_SMALL] = 's',
};

#define ON(t, c, set)                                                                              \
  { .term = (t), .change = (c), .in_sync = (set) }
#define CLAIMED(t, c, set, claimed)                                                                \
  { .term = (t), .change = (c), .in_sync = (set), .claim = (claimed) }
#define LINE(name, t, c, set)                                                                      \
  { .line = (name), .term = (t), .change = (c), .in_sync = (set) }
#define DOUBTFUL(t, c, set)                                                                        \
  { .term = (t), .change = (c), .in_sync = (set), .doubtful = true }
#define ABSENT                                                                                     \
  { .kind = GONE, .error = -ENOENT }

static const struct one_case cases[] = {
    /* ---- the counts ---- */
    {.proves = "all there, all equal: starts, one term later",
     .legs = 3,
     .min_legs = 2,
     .leg = {ON(4, 2, "abc"), ON(4, 2, "abc"), ON(4, 2, "abc")},
     .verdicts = "CCC",
     .may_start = true,
     .next_term = 5,
     .record = "4.2",
     .says = {"starts from record 4.2 with a, b and c"}},
    {.proves = "one of three absent, min_legs 2: fewer than 2 are absent, so nobody went on",
     .legs = 3,
     .min_legs = 2,
     .leg = {ON(4, 2, "abc"), ON(4, 2, "abc"), ABSENT},
     .verdicts = "CC-",
     .may_start = true,
     .next_term = 5,
     .record = "4.2",
     .says = {"without leg c (/dev/c): No such file"}},
    {.proves = "two of three absent: they may have gone on",
     .legs = 3,
     .min_legs = 2,
     .leg = {ON(4, 2, "abc"), ABSENT, ABSENT},
     .verdicts = "C--",
     .record = "4.2",
     .says = {"waits for leg b (/dev/b)", "only 1 of its 3 in-sync legs is present", "force=true"}},
    {.proves = "two legs, min_legs 1, one lost while down: refused, the other may have gone on",
     .legs = 2,
     .min_legs = 1,
     .leg = {ON(1, 1, "ab"), ABSENT},
     .verdicts = "C-",
     .record = "1.1",
     .says = {"waits for leg b (/dev/b)"}},
    {.proves = "the record itself dropped the lost leg: nothing to wait for",
     .legs = 2,
     .min_legs = 1,
     .leg = {ON(1, 2, "a"), ABSENT},
     .verdicts = "C-",
     .may_start = true,
     .record = "1.2"},
    {.proves = "5 legs, min_legs 2: 3 present would do, but 2 absent could be a set of their own",
     .legs = 5,
     .min_legs = 2,
     .leg = {ON(1, 1, "abcde"), ON(1, 1, "abcde"), ON(1, 1, "abcde"), ABSENT, ABSENT},
     .verdicts = "CCC--",
     .record = "1.1",
     .says = {"only 3 of its 5 in-sync legs are present, 4 needed"}},
    {.proves = "min_legs of the record counts, not that of the configuration",
     .legs = 3,
     .min_legs = 2,
     .config_min_legs = 1,
     .leg = {ON(1, 1, "abc"), ON(1, 1, "abc"), ABSENT},
     .verdicts = "CC-",
     .may_start = true,
     .record = "1.1"},
    {.proves = "a forced start may leave fewer in sync than min_legs: all of them will do",
     .legs = 3,
     .min_legs = 2,
     .leg = {LINE('B', 3, 1, "a"), ABSENT, ABSENT},
     .verdicts = "C--",
     .may_start = true,
     .record = "3.1"},
    /* ---- which record ---- */
    {.proves = "the newest record decides; a leg that it does not name is behind",
     .legs = 3,
     .min_legs = 2,
     .leg = {ON(4, 3, "ab"), ON(4, 3, "ab"), ON(4, 2, "abc")},
     .verdicts = "CCb",
     .may_start = true,
     .record = "4.3",
     .says = {"c will be caught up"}},
    {.proves = "a leg named by a record that was still on its way to it has every write",
     .legs = 3,
     .min_legs = 2,
     .leg = {ON(4, 3, "ab"), ON(4, 2, "abc"), ON(4, 2, "abc")},
     .verdicts = "CCb",
     .may_start = true,
     .record = "4.3"},
    {.proves =
         "a newer record on a leg alone: it names another, absent one; older ones don't count",
     .legs = 3,
     .min_legs = 2,
     .leg = {ON(4, 3, "ac"), ON(4, 2, "abc"), ABSENT},
     .verdicts = "Cb-",
     .record = "4.3",
     .says = {"waits for leg c", "record 4.3"}},
    {.proves = "term goes before change",
     .legs = 2,
     .min_legs = 1,
     .leg = {ON(3, 9, "ab"), ON(4, 1, "b")},
     .verdicts = "bC",
     .may_start = true,
     .next_term = 5,
     .record = "4.1"},
    {.proves = "doubt: b holds an older record and a claim of a later term; c may know better",
     .legs = 3,
     .min_legs = 2,
     .leg = {ON(4, 3, "ab"), CLAIMED(4, 2, "abc", 5), ABSENT},
     .verdicts = "CC-",
     .next_term = 6,
     .record = "4.3",
     .says = {"waits for leg c", "starts were broken off around record 4.3", "force=true"}},
    {.proves =
         "doubt, all are there: the newer record stays, its legs are enough for the older too",
     .legs = 3,
     .min_legs = 2,
     .leg = {{.term = 4, .change = 3, .in_sync = "ab", .faulty = "c"},
             CLAIMED(4, 2, "abc", 5),
             ON(4, 2, "abc")},
     .verdicts = "CCf",
     .may_start = true,
     .next_term = 6,
     .record = "4.3"},
    {.proves =
         "doubt, all are there: two legs are not enough for the older record, so that is taken",
     .legs = 4,
     .min_legs = 2,
     .leg = {ON(4, 3, "ab"), CLAIMED(4, 2, "abcd", 5), ON(4, 2, "abcd"), ON(4, 2, "abcd")},
     .verdicts = "CCCC",
     .may_start = true,
     .record = "4.2"},
    {.proves = "two claims of one term for different records: either start may have come through",
     .legs = 4,
     .min_legs = 2,
     .leg = {CLAIMED(2, 2, "abcd", 3), CLAIMED(2, 1, "abc", 3), ABSENT, ABSENT},
     .verdicts = "CC--",
     .next_term = 4,
     .record = "2.2",
     .says = {"waits for leg c", "leg d"}},
    {.proves = "three starts broken off: d, absent, holds 3.1, which b and c had gone on to",
     .legs = 4,
     .min_legs = 2,
     .leg = {ON(2, 1, "abc"), CLAIMED(1, 1, "abcd", 3), CLAIMED(1, 1, "abcd", 3), ABSENT},
     .verdicts = "CCC-",
     .next_term = 4,
     .record = "2.1",
     .says = {"waits for leg d"}},
    {.proves = "doubt, and force: only the newest record's legs",
     .legs = 5,
     .min_legs = 2,
     .force = true,
     .leg = {ON(4, 3, "ab"), CLAIMED(4, 2, "abcde", 5), ABSENT, ABSENT, ON(4, 2, "abcde")},
     .verdicts = "CC--b",
     .may_start = true,
     .forced = true,
     .record = "4.3"},
    {.proves = "no doubt: a claim of the same term does not tell of a later start",
     .legs = 3,
     .min_legs = 2,
     .leg = {ON(5, 2, "ab"), CLAIMED(4, 2, "abc", 5), ABSENT},
     .verdicts = "CC-",
     .may_start = true,
     .next_term = 6,
     .record = "5.2"},
    {.proves = "no doubt: the leg with the later claim is not named by the record",
     .legs = 3,
     .min_legs = 2,
     .leg = {ON(4, 3, "ab"), ABSENT, CLAIMED(4, 2, "abc", 5)},
     .verdicts = "C-b",
     .next_term = 6,
     .record = "4.3"},
    {.proves = "doubt of a doubt: each record has its say",
     .legs = 3,
     .min_legs = 2,
     .leg = {ON(5, 1, "abc"), CLAIMED(4, 2, "bc", 6), CLAIMED(3, 1, "abc", 6)},
     .verdicts = "CCC",
     .may_start = true,
     .next_term = 7,
     .record = "5.1"},
    {.proves = "claims of legs that are behind count for the next term",
     .legs = 3,
     .min_legs = 2,
     .leg = {ON(4, 3, "ab"), ON(4, 3, "ab"), CLAIMED(2, 1, "abc", 9)},
     .verdicts = "CCb",
     .may_start = true,
     .next_term = 10,
     .record = "4.3"},
    {.proves = "clean and not clean under one number: believed is what promises less",
     .legs = 2,
     .min_legs = 1,
     .leg = {{.term = 1, .change = 2, .in_sync = "ab", .clean = true}, ON(1, 2, "ab")},
     .verdicts = "CC",
     .may_start = true,
     .record = "1.2 unclean"},
    {.proves = "one number, two contents cannot be: nothing is trusted",
     .legs = 3,
     .min_legs = 1,
     .leg = {ON(4, 1, "ab"), ON(4, 1, "bc"), ON(4, 1, "bc")},
     .verdicts = "CCb",
     .record = "4.1",
     .says = {"different records with the same number 4.1"}},
    {.proves = "the same under force",
     .legs = 3,
     .min_legs = 1,
     .leg = {ON(4, 1, "ab"), ON(4, 1, "bc"), ON(4, 1, "bc")},
     .force = true,
     .verdicts = "CCb",
     .record = "4.1"},
    /* ---- faulty, blank ---- */
    {.proves = "a faulty leg stays out",
     .legs = 3,
     .min_legs = 2,
     .leg = {{.term = 1, .change = 2, .in_sync = "ab", .faulty = "c"},
             {.term = 1, .change = 2, .in_sync = "ab", .faulty = "c"},
             ON(1, 1, "abc")},
     .verdicts = "CCf",
     .may_start = true,
     .record = "1.2",
     .says = {"c stays out as faulty"}},
    {.proves = "a discarded leg holds nothing, though the record names it",
     .legs = 3,
     .min_legs = 2,
     .leg = {ON(1, 1, "abc"), ON(1, 1, "abc"), {.kind = DISCARDED}},
     .verdicts = "CCb",
     .may_start = true,
     .record = "1.1"},
    {.proves = "it counts as absent, and its claim throws no doubt",
     .legs = 2,
     .min_legs = 1,
     .leg = {ON(1, 1, "ab"), {.kind = DISCARDED, .claim = 7}},
     .verdicts = "Cb",
     .next_term = 8,
     .record = "1.1",
     .says = {"leg b (/dev/b): it was discarded"}},
    {.proves = "nothing but discarded legs",
     .legs = 2,
     .min_legs = 1,
     .leg = {{.kind = DISCARDED}, ABSENT},
     .verdicts = "b-",
     .says = {"only discarded, empty legs are there (a)"}},
    /* ---- identity ---- */
    {.proves = "no leg at all",
     .legs = 2,
     .min_legs = 1,
     .leg = {ABSENT, {.kind = GONE, .error = -ETIMEDOUT}},
     .verdicts = "--",
     .says = {"no leg of volume vol0 is there", "did not answer in time"}},
    {.proves = "blank disks: says how to make a volume",
     .legs = 2,
     .min_legs = 1,
     .leg = {{.kind = ERROR, .error = -ENODATA}, {.kind = ERROR, .error = -ENODATA}},
     .verdicts = "uu",
     .says = {"surefootctl create vol0.conf"}},
    {.proves = "legs without a usable superblock count as absent, each with its reason",
     .legs = 5,
     .min_legs = 3,
     .leg = {ON(1, 1, "abcde"),
             {.kind = ERROR, .error = -ENODATA},
             {.kind = ERROR, .error = -EBADMSG},
             {.kind = ERROR, .error = -EPROTONOSUPPORT},
             {.kind = ERROR, .error = -EUCLEAN}},
     .verdicts = "Cudnd",
     .record = "1.1",
     .says = {"leg b (/dev/b): it carries no superblock", "leg c (/dev/c): CRC", "newer version"}},
    {.proves = "a leg of a volume with another name",
     .legs = 3,
     .min_legs = 2,
     .leg = {ON(1, 1, "abc"), ON(1, 1, "abc"), {.kind = OTHER_NAME}},
     .verdicts = "CCx",
     .may_start = true,
     .record = "1.1",
     .next_term = 2,
     .says = {"leg c (/dev/c): it belongs to a volume of another name"}},
    {.proves = "another volume of the same name, too few of it: ours is the one that can start",
     .legs = 3,
     .min_legs = 2,
     .leg = {{.kind = OTHER_UUID, .term = 9, .change = 1, .in_sync = "abc"},
             ON(1, 1, "abc"),
             ON(1, 1, "abc")},
     .verdicts = "xCC",
     .may_start = true,
     .record = "1.1",
     .next_term = 2},
    {.proves = "two volumes of one name that could both start: never guess",
     .legs = 2,
     .min_legs = 1,
     .leg = {ON(1, 2, "a"), {.kind = OTHER_UUID, .term = 1, .change = 2, .in_sync = "b"}},
     .verdicts = "xC",
     .says = {"different volumes that are both called vol0"}},
    {.proves = "the same under force",
     .legs = 2,
     .min_legs = 1,
     .force = true,
     .leg = {ON(1, 1, "ab"), {.kind = OTHER_UUID, .term = 1, .change = 1, .in_sync = "ab"}},
     .verdicts = "Cx",
     .says = {"different volumes"}},
    {.proves = "two legs swapped: both refused, but their claims count",
     .legs = 3,
     .min_legs = 2,
     .leg = {ON(1, 1, "abc"),
             {.kind = SWAPPED, .term = 1, .change = 1, .in_sync = "abc", .claim = 6},
             {.kind = SWAPPED, .term = 1, .change = 1, .in_sync = "abc"}},
     .verdicts = "Cxx",
     .next_term = 7,
     .record = "1.1",
     .says = {"listed in the wrong place"}},
    {.proves = "a section renamed in the file",
     .legs = 2,
     .min_legs = 1,
     .leg = {ON(1, 2, "a"), {.kind = RENAMED}},
     .verdicts = "Cx",
     .may_start = true,
     .record = "1.2",
     .says = {"by another name"}},
    {.proves = "right place, wrong uuid: nothing of it is believed, its later claim included",
     .legs = 3,
     .min_legs = 2,
     .leg = {ON(4, 3, "ab"),
             ON(4, 3, "ab"),
             {.kind = IMPOSTOR, .term = 1, .change = 1, .in_sync = "abc", .claim = 5}},
     .verdicts = "CCx",
     .may_start = true,
     .record = "4.3",
     .says = {"another disk has taken"}},
    {.proves = "an impostor that is behind and would doubt the newest record is not listened to",
     .legs = 3,
     .min_legs = 2,
     .leg = {ON(4, 3, "abc"),
             ON(4, 3, "abc"),
             {.kind = IMPOSTOR, .term = 1, .change = 1, .in_sync = "abc", .claim = 4}},
     .verdicts = "CCx",
     .may_start = true,
     .record = "4.3"},
    {.proves = "formatted with another size",
     .legs = 3,
     .min_legs = 2,
     .leg = {ON(4, 3, "abc"),
             ON(4, 3, "abc"),
             {.kind = RESIZED, .term = 4, .change = 3, .in_sync = "abc"}},
     .verdicts = "CCx",
     .may_start = true,
     .record = "4.3",
     .says = {"another size"}},
    /* ---- broken off while it grew: the size goes with the record ---- */
    {.proves = "the record with the new size is on one leg: it counts, the others are in sync",
     .legs = 3,
     .min_legs = 2,
     .leg = {{.kind = GROWN, .term = 4, .change = 4, .in_sync = "abc"},
             ON(4, 3, "abc"),
             ON(4, 3, "abc")},
     .verdicts = "CCC",
     .may_start = true,
     .record = "4.4",
     .bytes = 2 * SF_VOLUME_BYTES_MIN},
    {.proves = "a leg that was out while it grew is behind where it is long enough",
     .legs = 3,
     .min_legs = 2,
     .leg = {{.kind = GROWN, .term = 4, .change = 5, .in_sync = "ab"},
             {.kind = GROWN, .term = 4, .change = 5, .in_sync = "ab"},
             ON(4, 3, "abc")},
     .verdicts = "CCb",
     .may_start = true,
     .record = "4.5",
     .bytes = 2 * SF_VOLUME_BYTES_MIN},
    {.proves = "and is not taken where it is not",
     .legs = 3,
     .min_legs = 2,
     .leg = {{.kind = GROWN, .term = 4, .change = 5, .in_sync = "ab"},
             {.kind = GROWN, .term = 4, .change = 5, .in_sync = "ab"},
             {.kind = NOT_GROWN_SHORT, .term = 4, .change = 3, .in_sync = "abc"}},
     .verdicts = "CCs",
     .may_start = true,
     .record = "4.5",
     .bytes = 2 * SF_VOLUME_BYTES_MIN,
     .says = {"leg c (/dev/c): it is shorter"}},
    {.proves = "an in-sync leg that is too short for the new size counts as absent",
     .legs = 2,
     .min_legs = 1,
     .leg = {{.kind = GROWN, .term = 4, .change = 4, .in_sync = "ab"},
             {.kind = NOT_GROWN_SHORT, .term = 4, .change = 3, .in_sync = "ab"}},
     .verdicts = "Cs",
     .record = "4.4",
     .says = {"waits for leg b", "it is shorter"}},
    {.proves =
         "the new size was never durable and a later start went on with the old one: it counts",
     .legs = 3,
     .min_legs = 2,
     .leg = {{.kind = GROWN_SHORT, .term = 4, .change = 4, .in_sync = "abc"},
             ON(5, 1, "bc"),
             ON(5, 1, "bc")},
     .verdicts = "bCC",
     .may_start = true,
     .record = "5.1",
     .bytes = SF_VOLUME_BYTES_MIN},
    {.proves = "doubt about the record with the new size, and the older one is taken: the old size",
     .legs = 4,
     .min_legs = 2,
     .leg = {{.kind = GROWN, .term = 4, .change = 3, .in_sync = "ab"},
             CLAIMED(4, 2, "abcd", 5),
             ON(4, 2, "abcd"),
             ON(4, 2, "abcd")},
     .verdicts = "CCCC",
     .may_start = true,
     .record = "4.2",
     .bytes = SF_VOLUME_BYTES_MIN},
    {.proves = "a leg that shrank counts as absent; the record on it is believed",
     .legs = 2,
     .min_legs = 1,
     .leg = {ON(1, 1, "ab"), {.kind = SHORT, .term = 1, .change = 2, .in_sync = "b"}},
     .verdicts = "bs",
     .record = "1.2",
     .says = {"leg b (/dev/b): it is shorter"}},
    {.proves = "a single leg is a volume too",
     .legs = 1,
     .min_legs = 1,
     .leg = {ON(1, 1, "a")},
     .verdicts = "C",
     .may_start = true,
     .next_term = 2,
     .record = "1.1"},
    /* ---- lines of history ---- */
    {.proves = "left behind by a forced start, not past the fork: caught up",
     .legs = 2,
     .min_legs = 1,
     .leg = {LINE('B', 3, 1, "a"), LINE('A', 2, 3, "ab")},
     .verdicts = "Cb",
     .may_start = true,
     .record = "3.1"},
    {.proves = "went on in the old line after the fork: split brain, and the way out",
     .legs = 2,
     .min_legs = 1,
     .leg = {LINE('B', 3, 1, "a"), LINE('A', 2, 4, "b")},
     .verdicts = "C!",
     .may_start = true,
     .next_term = 4,
     .record = "3.1",
     .says = {"split brain", "surefootctl leg discard vol0 b"}},
    {.proves = "the same where the old line grew and came to the same number: the size is its own",
     .legs = 2,
     .min_legs = 1,
     .leg = {LINE('B', 3, 1, "a"),
             {.kind = RESIZED, .line = 'A', .term = 3, .change = 1, .in_sync = "b"}},
     .verdicts = "C!",
     .may_start = true,
     .record = "3.1",
     .says = {"split brain", "surefootctl leg discard vol0 b"}},
    {.proves = "a split leg does not stand in for one that the new line misses",
     .legs = 3,
     .min_legs = 2,
     .leg = {LINE('B', 3, 1, "ab"), ABSENT, LINE('A', 4, 1, "bc")},
     .verdicts = "C-!",
     .next_term = 5,
     .record = "3.1",
     .says = {"waits for leg b"}},
    {.proves = "the grandparent line is known too",
     .legs = 3,
     .min_legs = 1,
     .leg = {LINE('D', 6, 1, "a"), LINE('B', 5, 1, "ab"), LINE('A', 2, 4, "c")},
     .verdicts = "Cb!",
     .may_start = true,
     .record = "6.1"},
    {.proves = "the first record of a forced start did not reach b: b is named and complete",
     .legs = 3,
     .min_legs = 2,
     .leg = {LINE('B', 3, 1, "ab"),
             {.line = 'A', .term = 2, .change = 3, .in_sync = "abc", .claim = 3},
             LINE('A', 2, 3, "abc")},
     .verdicts = "CCb",
     .may_start = true,
     .next_term = 4,
     .record = "3.1"},
    {.proves = "two forced starts on either side: only the operator can choose",
     .legs = 3,
     .min_legs = 1,
     .leg = {LINE('B', 3, 1, "a"), LINE('C', 3, 1, "b"), LINE('A', 2, 3, "abc")},
     .verdicts = "!!!",
     .next_term = 4,
     .says = {"a (record 3.1) against b (record 3.1)",
              "surefootctl leg discard --config vol0.conf a"}},
    {.proves = "force does not choose either",
     .legs = 2,
     .min_legs = 1,
     .leg = {LINE('B', 3, 1, "a"), LINE('C', 3, 1, "b")},
     .force = true,
     .verdicts = "!!",
     .next_term = 4},
    {.proves = "once one side is discarded the other starts",
     .legs = 2,
     .min_legs = 1,
     .leg = {LINE('B', 3, 1, "a"), {.kind = DISCARDED, .line = 'C'}},
     .verdicts = "Cb",
     .may_start = true,
     .record = "3.1"},
    {.proves = "a leg that the new line names was asked for a later start of the old one: c and d "
               "may have gone on",
     .legs = 4,
     .min_legs = 2,
     .leg = {LINE('B', 3, 1, "ab"),
             {.line = 'A', .term = 2, .change = 3, .in_sync = "abcd", .claim = 4},
             ABSENT,
             ABSENT},
     .verdicts = "CC--",
     .record = "3.1"},
    {.proves = "and one shows that it has",
     .legs = 5,
     .min_legs = 2,
     .leg = {LINE('B', 3, 1, "abc"),
             {.line = 'A', .term = 2, .change = 3, .in_sync = "abcde", .claim = 4},
             LINE('A', 4, 2, "cde"),
             ABSENT,
             ABSENT},
     .verdicts = "CC!--",
     .record = "3.1"},
    {.proves =
         "with all that it could have begun with here, and none past the fork, the new line starts",
     .legs = 4,
     .min_legs = 2,
     .leg = {LINE('B', 3, 1, "ab"),
             {.line = 'A', .term = 2, .change = 3, .in_sync = "abcd", .claim = 4},
             LINE('A', 2, 3, "abcd"),
             LINE('A', 2, 3, "abcd")},
     .verdicts = "CCbb",
     .may_start = true,
     .record = "3.1"},
    /* ---- an unreadable copy of the superblock ---- */
    {.proves = "one of three, min_legs 2: it could not have gone on alone, nothing is lost",
     .legs = 3,
     .min_legs = 2,
     .leg = {DOUBTFUL(4, 2, "abc"), ON(4, 2, "abc"), ON(4, 2, "abc")},
     .verdicts = "CCC",
     .may_start = true,
     .record = "4.2",
     .says = {"starts from record 4.2 with a, b and c"}},
    {.proves = "one of two, min_legs 1: it may have gone on alone, and so it does",
     .legs = 2,
     .min_legs = 1,
     .leg = {DOUBTFUL(4, 2, "ab"), ON(4, 2, "ab")},
     .verdicts = "Cb",
     .may_start = true,
     .forced = true,
     .record = "4.2",
     .says = {"starts from record 4.2 with a; one copy of the superblock of a cannot be read",
              "b will be copied whole"}},
    {.proves = "both of two: nobody can tell which went on",
     .legs = 2,
     .min_legs = 1,
     .leg = {DOUBTFUL(4, 2, "ab"), DOUBTFUL(4, 2, "ab")},
     .verdicts = "CC",
     .record = "4.2",
     .says = {"refuses to start: one copy of the superblock of a and b cannot be read",
              "ddrescue"}},
    {.proves = "the same by force: one of them, and the other is made like it",
     .legs = 2,
     .min_legs = 1,
     .leg = {DOUBTFUL(4, 2, "ab"), DOUBTFUL(4, 2, "ab")},
     .force = true,
     .verdicts = "Cb",
     .may_start = true,
     .forced = true,
     .record = "4.2",
     .says = {"starts by force from record 4.2 with a", "b will be copied whole"}},
    {.proves = "alone in the set, and the other leg is not there: it may have been taken back and "
               "gone on",
     .legs = 2,
     .min_legs = 1,
     .leg = {DOUBTFUL(4, 2, "a"), ABSENT},
     .verdicts = "C-",
     .record = "4.2",
     .says = {"one copy of the superblock of a cannot be read", "bring back leg b"}},
    {.proves = "alone in the set, and the other shows that it was not",
     .legs = 2,
     .min_legs = 1,
     .leg = {DOUBTFUL(4, 2, "a"), ON(4, 1, "ab")},
     .verdicts = "Cb",
     .may_start = true,
     .record = "4.2"},
    {.proves = "what is busy, silent or unreadable is no reason for force",
     .legs = 2,
     .min_legs = 1,
     .leg = {ON(4, 2, "ab"), {.kind = GONE, .error = -EIO}},
     .verdicts = "C-",
     .record = "4.2",
     .says = {"bring it back, copied to another disk as far as it can be read"}},

    /* ---- force ---- */
    {.proves = "force starts with what is there and begins a new line",
     .legs = 3,
     .min_legs = 2,
     .leg = {ON(4, 2, "abc"), ABSENT, ABSENT},
     .force = true,
     .verdicts = "C--",
     .may_start = true,
     .forced = true,
     .next_term = 5,
     .record = "4.2",
     .says = {"starts by force from record 4.2 with a", "what only b and c may hold"}},
    {.proves = "force where none is needed changes nothing",
     .legs = 2,
     .min_legs = 1,
     .leg = {ON(4, 2, "ab"), ON(4, 2, "ab")},
     .force = true,
     .verdicts = "CC",
     .may_start = true,
     .record = "4.2"},
    {.proves = "force takes no leg that the newest record leaves out",
     .legs = 3,
     .min_legs = 2,
     .leg = {ON(4, 3, "ab"), ABSENT, ON(4, 2, "abc")},
     .force = true,
     .verdicts = "C-b",
     .may_start = true,
     .forced = true,
     .record = "4.3"},
    {.proves = "force has nothing to start from when no leg of the newest record is there",
     .legs = 3,
     .min_legs = 2,
     .leg = {ABSENT, ABSENT, ON(4, 3, "ab")},
     .force = true,
     .verdicts = "--b",
     .record = "4.3",
     .says = {"even force=true cannot start"}},
    {.proves = "nor when there is no leg at all",
     .legs = 1,
     .min_legs = 1,
     .leg = {ABSENT},
     .force = true,
     .verdicts = "-"},
};

/* ---- from a case to superblocks ---- */

static struct sf_uuid
uuid(char what, unsigned number) {
  struct sf_uuid result = {{(uint8_t) what, (uint8_t) (number + 1)}};
  return result;
}

static uint16_t
set_of(const char *names) {
  uint16_t set = 0;
  for (; names && *names; names++)
    set |= (uint16_t) (1u << (*names - 'a'));
  return set;
}

static void
add_ancestor(struct sf_superblock *sb, char line, unsigned term, unsigned change) {
  sb->ancestor[sb->ancestors++] =
      (struct sf_ancestor){.lineage = uuid(line, 0), .term = term, .change = change};
}

static void
set_lineage(struct sf_superblock *sb, char line) {
  sb->lineage = uuid(line ? line : 'A', 0);
  if (line == 'D')
    add_ancestor(sb, 'B', 5, 1);
  if (line == 'B' || line == 'C' || line == 'D')
    add_ancestor(sb, 'A', 2, 3);
}

static struct sf_superblock
superblock_of(const struct one_case *c, unsigned index) {
  const struct leg *leg = &c->leg[index];
  struct sf_superblock sb = {.serial = 1,
                             .volume = uuid('v', 0),
                             .volume_name = "vol0",
                             .leg_index = (uint8_t) index,
                             .legs = (uint8_t) c->legs,
                             .data_offset = SF_DATA_OFFSET,
                             .data_bytes = SF_VOLUME_BYTES_MIN,
                             .extent_bytes = SF_EXTENT_BYTES_DEFAULT};
  for (unsigned i = 0; i < c->legs; i++) {
    sb.leg_uuid[i] = uuid('l', i);
    sb.leg_name[i][0] = (char) ('a' + i);
  }
  set_lineage(&sb, leg->line);
  sb.record = (struct sf_record){.term = leg->term ? leg->term : 1,
                                 .change = leg->change ? leg->change : 1,
                                 .in_sync = set_of(leg->in_sync),
                                 .faulty = set_of(leg->faulty),
                                 .min_legs = (uint8_t) c->min_legs,
                                 .clean = leg->clean};
  sb.claim = leg->claim ? leg->claim : sb.record.term;
  return sb;
}

static void
disguise(struct sf_superblock *sb, struct sf_leg_found *found, enum kind kind) {
  unsigned index = sb->leg_index;
  if (kind == OTHER_NAME)
    strcpy(sb->volume_name, "vol1");
  else if (kind == OTHER_UUID)
    sb->volume = uuid('w', 0);
  else if (kind == SWAPPED)
    sb->leg_index = (uint8_t) (index == 1 ? 2 : 1);
  else if (kind == RENAMED)
    strcpy(sb->leg_name[index], "old");
  else if (kind == IMPOSTOR)
    sb->leg_uuid[index] = uuid('m', index);
  else if (kind == RESIZED || kind == GROWN || kind == GROWN_SHORT)
    sb->data_bytes *= 2;
  else if (kind == SHORT)
    found->bytes = SF_DATA_OFFSET + SF_VOLUME_BYTES_MIN - 1;
  if (kind == GROWN_SHORT || kind == NOT_GROWN_SHORT)
    found->bytes = SF_DATA_OFFSET + SF_VOLUME_BYTES_MIN;
  if (kind == DISCARDED)
    sb->record = (struct sf_record){
        .term = SF_BLANK_TERM, .change = SF_BLANK_CHANGE, .in_sync = 1, .min_legs = 1};
}

static struct sf_leg_found
found_of(const struct one_case *c, unsigned index) {
  enum kind kind = c->leg[index].kind;
  struct sf_leg_found found = {.present = kind != GONE,
                               .error = c->leg[index].error,
                               .bytes = SF_DATA_OFFSET + 4 * SF_VOLUME_BYTES_MIN};
  if (kind != GONE && kind != ERROR) {
    found.sb = superblock_of(c, index);
    found.doubtful = c->leg[index].doubtful;
    disguise(&found.sb, &found, kind);
  }
  return found;
}

static void
assemble(const struct one_case *c, struct sf_assembly *assembly) {
  struct sf_config config = {.file = "vol0.conf", .name = "vol0", .legs = c->legs};
  struct sf_leg_found found[SF_LEGS_MAX] = {{0}};
  config.min_legs = c->config_min_legs ? c->config_min_legs : c->min_legs;
  for (unsigned i = 0; i < c->legs; i++) {
    config.leg[i].name[0] = (char) ('a' + i);
    sprintf(config.leg[i].path, "/dev/%c", 'a' + i);
    found[i] = found_of(c, i);
  }
  sf_assemble(&config, found, c->force, assembly);
}

/* ---- the checks ---- */

static void
check_sets(const struct one_case *c, const struct sf_assembly *assembly) {
  uint16_t current = 0;
  for (unsigned i = 0; i < c->legs; i++)
    if (assembly->verdict[i] == SF_LEG_CURRENT)
      current |= (uint16_t) (1u << i);
  assert_int_equal(assembly->current, assembly->may_start ? current : 0);
  if (assembly->may_start)
    assert_int_equal(assembly->waits_for, 0);
  assert_int_equal(assembly->waits_for & current, 0);
}

static void
check_record(const struct one_case *c, const struct sf_assembly *assembly) {
  char record[64];
  if (!c->record) {
    assert_int_equal(assembly->reference, -1);
    return;
  }
  assert_true(assembly->reference >= 0 && assembly->reference < (int) c->legs);
  snprintf(record, sizeof record, "%d.%d%s", (int) assembly->base.record.term,
           (int) assembly->base.record.change,
           strstr(c->record, "unclean") && !assembly->base.record.clean ? " unclean" : "");
  assert_string_equal(record, c->record);
}

static void
test_cases(void **state) {
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    const struct one_case *c = &cases[i];
    struct sf_assembly assembly;
    char verdicts[SF_LEGS_MAX + 1] = "";
    assemble(c, &assembly);
    print_message("%s\n    %s\n", c->proves, assembly.reason);
    for (unsigned leg = 0; leg < c->legs; leg++)
      verdicts[leg] = letters[assembly.verdict[leg]];
    assert_int_equal(assembly.legs, c->legs);
    assert_string_equal(verdicts, c->verdicts);
    assert_int_equal(assembly.may_start, c->may_start);
    assert_int_equal(assembly.forced, c->forced);
    if (c->bytes)
      assert_int_equal(assembly.base.data_bytes, c->bytes);
    if (c->next_term)
      assert_int_equal(assembly.next_term, c->next_term);
    check_sets(c, &assembly);
    check_record(c, &assembly);
    for (unsigned s = 0; s < 4 && c->says[s]; s++)
      if (!strstr(assembly.reason, c->says[s]))
        fail_msg("does not say: %s", c->says[s]);
  }
}

/* ---- legs as a file lists them ---- */

/* In the order of `names` sections with superblocks of those places, '-' for one that is absent. */
struct listed {
  const char *names;  /* of the sections */
  const char *places; /* what each holds: the place's letter, in lower case of the older record */
  unsigned old_legs, legs;
  uint16_t removed, in_sync;
  const char *want;     /* the sections by place: '.' an empty place, a capital one not listed */
  const char *verdicts; /* by place; ' ' where it is empty */
  bool may_start;
  const char *says;
};

static void
check_listed(const struct listed *l) {
  struct sf_config config = {
      .file = "vol0.conf", .name = "vol0", .legs = (unsigned) strlen(l->names), .min_legs = 2};
  struct sf_leg_found found[SF_LEGS_MAX] = {{0}};
  struct sf_assembly assembly;
  int from[SF_LEGS_MAX];

  for (unsigned i = 0; i < config.legs; i++) {
    config.leg[i].name[0] = l->names[i];
    sprintf(config.leg[i].path, "/dev/%c", l->names[i]);
    if (l->places[i] == '-')
      continue;
    bool old = l->places[i] >= 'a';
    unsigned place = (unsigned) (l->places[i] - (old ? 'a' : 'A'));
    struct one_case c = {.legs = old ? l->old_legs : l->legs, .min_legs = 2};
    for (unsigned k = 0; k < c.legs; k++)
      c.leg[k] = (struct leg){.term = 4, .change = old ? 1 : 2, .in_sync = "ab"};
    found[i] = (struct sf_leg_found){.present = true, .bytes = SF_DATA_OFFSET * 2};
    found[i].sb = superblock_of(&c, place);
    if (!old) {
      found[i].sb.removed = l->removed;
      found[i].sb.record.in_sync = l->in_sync;
    }
  }
  sf_assemble_file(&config, found, false, from, &assembly);
  print_message("%s: %s\n", l->names, assembly.reason);
  assert_int_equal(config.legs, strlen(l->want));
  for (unsigned i = 0; i < config.legs; i++) {
    bool listed = l->want[i] >= 'a';
    char name = l->want[i] == '.' ? '\0' : listed ? l->want[i] : (char) (l->want[i] + 32);
    assert_int_equal(config.leg[i].name[0], name);
    assert_int_equal(config.leg[i].path[0] != '\0', listed);
    assert_int_equal(from[i] >= 0, listed);
    if (listed)
      assert_int_equal(l->names[from[i]], name);
    if (l->verdicts[i] != ' ')
      assert_int_equal(letters[assembly.verdict[i]], l->verdicts[i]);
  }
  assert_int_equal(assembly.may_start, l->may_start);
  if (l->says && !strstr(assembly.reason, l->says))
    fail_msg("does not say: %s", l->says);
}

/* Proves where the sections of a file come to stand: after a leg was added, removed, or listed in
 * another order, and where a change of the legs reached only some of them. */
static void
test_listed(void **state) {
  static const struct listed cases_listed[] = {
      /* the order of the file is the operator's */
      {"cab", "CAB", 3, 3, 0, 7, "abc", "CCC", true, "starts"},
      /* the middle one was removed; its section is gone */
      {"ac", "AC", 3, 3, 2, 5, "a.c", "C C", true, NULL},
      /* or is still there, with the disk that it was */
      {"abc", "AbC", 3, 3, 2, 5, "a.c", "C C", true, "the volume has no leg b"},
      /* the removal reached one leg: it counts */
      {"abc", "Abc", 3, 3, 2, 5, "a.c", "C C", true, "the volume has no leg b"},
      /* a third one was added and is not listed */
      {"ab", "AB", 2, 3, 0, 3, "abC", "CC-", true, "the configuration file does not list it"},
      /* the same, and it is in sync: two of three are enough for a start without it */
      {"ab", "AB", 2, 3, 0, 7, "abC", "CC-", true, "the configuration file does not list it"},
      /* and alone they are not */
      {"a", "A", 2, 3, 0, 7, "aBC", "C--", false, "waits for leg b: the configuration file"},
      /* the addition reached one leg: the other has fewer places, and is in sync */
      {"abc", "Ab-", 2, 3, 0, 3, "abc", "CC-", true, NULL},
      /* it reached none, and the file lists it already */
      {"abc", "ab-", 2, 2, 0, 3, "ab", "CC", true, "the volume has no leg c"},
      /* a section was renamed: the leg is not listed, and the name is unknown */
      {"ax", "AB", 2, 2, 0, 3, "aB", "C-", false, "does not list it"},
  };
  for (size_t i = 0; i < sizeof cases_listed / sizeof *cases_listed; i++)
    check_listed(&cases_listed[i]);
}

/* Leg a went on alone in a line that was begun by force, b in the other one: each removed the other from
 * the volume, and b has made more records. */
static void
assemble_removed_by_each_other(char line_of_b, struct sf_assembly *assembly) {
  const struct one_case c = {
      .legs = 2, .min_legs = 1, .leg = {LINE('B', 3, 1, "a"), LINE(line_of_b, 4, 7, "b")}};

  for (unsigned first = 0; first < 2; first++) {
    struct sf_config config = {.file = "vol0.conf", .name = "vol0", .legs = 2, .min_legs = 1};
    struct sf_leg_found found[SF_LEGS_MAX] = {{0}};
    int from[SF_LEGS_MAX];

    for (unsigned i = 0; i < 2; i++) {
      unsigned leg = i ^ first; /* whatever the order in the file */

      config.leg[i].name[0] = (char) ('a' + leg);
      found[i] = found_of(&c, leg);
      found[i].sb.removed = (uint16_t) (leg == 0 ? 2 : 1);
    }
    sf_assemble_file(&config, found, false, from, assembly);
    print_message("%s\n", assembly->reason);
    if (assembly->may_start)
      assert_int_equal(assembly->base.record.term, 3);
  }
}

/* Proves that the newest line says who the legs are, not the highest number; and that two lines, of which
 * neither comes from the other, are told from each other where neither knows the other's legs. */
static void
test_listed_lines(void **state) {
  struct sf_assembly assembly;

  assemble_removed_by_each_other('A', &assembly);
  assert_true(assembly.may_start);
  assert_int_equal(assembly.current, 1);
  assert_non_null(strstr(assembly.reason, "the volume has no leg b"));
  assemble_removed_by_each_other('C', &assembly);
  assert_false(assembly.may_start);
  assert_int_equal(assembly.current, 0);
  assert_non_null(strstr(assembly.reason, "list only those of one line of history"));
}

/* Proves that the table above has a case for every verdict, so that none can rot. */
static void
test_every_verdict_has_a_case(void **state) {
  for (size_t v = 0; v < sizeof letters; v++) {
    bool seen = false;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
      seen |= strchr(cases[i].verdicts, letters[v]) != NULL;
    if (!seen)
      fail_msg("no case gives %s", sf_verdict_name((enum sf_verdict) v));
    assert_string_not_equal(sf_verdict_name((enum sf_verdict) v), "unknown");
  }
  assert_string_equal(sf_verdict_name((enum sf_verdict) 99), "unknown");
}

/* Proves that a long path leaves room for the sentence: 16 legs, all of them gone. */
static void
test_sentence_is_bounded(void **state) {
  static struct sf_config config = {.name = "vol0", .min_legs = 9, .legs = SF_LEGS_MAX};
  static struct sf_leg_found found[SF_LEGS_MAX];
  struct sf_assembly assembly;
  for (unsigned i = 0; i < SF_LEGS_MAX; i++) {
    memset(config.leg[i].name, 'a' + (int) i, SF_LEG_NAME_MAX - 1);
    memset(config.leg[i].path, '/', PATH_MAX - 1);
    found[i].error = -EIO;
  }
  sf_assemble(&config, found, true, &assembly);
  assert_false(assembly.may_start);
  assert_int_equal(strlen(assembly.reason), sizeof assembly.reason - 1);
}

/* Proves that no start claims a term that no reader would take from it, and by force neither: it says
 * whose superblock stands in the way. */
static void
test_last_term(void **state) {
  const struct one_case c = {
      .legs = 3, .min_legs = 2, .leg = {ON(4, 2, "abc"), ON(4, 2, "abc"), ON(4, 2, "abc")}};
  struct sf_config config = {.name = "vol0", .legs = 3, .min_legs = 2};
  struct sf_leg_found found[SF_LEGS_MAX] = {{0}};
  struct sf_assembly assembly;
  for (unsigned i = 0; i < 3; i++) {
    config.leg[i].name[0] = (char) ('a' + i);
    found[i] = found_of(&c, i);
  }
  found[1].sb.claim = SF_NUMBER_MAX - 1;
  sf_assemble(&config, found, false, &assembly);
  assert_true(assembly.may_start);
  assert_true(assembly.next_term == SF_NUMBER_MAX);
  for (unsigned force = 0; force < 2; force++) {
    found[1].sb.claim = SF_NUMBER_MAX;
    sf_assemble(&config, found, force, &assembly);
    assert_false(assembly.may_start);
    assert_int_equal(assembly.current, 0);
    assert_non_null(strstr(assembly.reason, "superblock of b names the last term"));
    found[1].sb.claim = 4;
    found[1].sb.record.term = SF_NUMBER_MAX;
    found[2] = (struct sf_leg_found){.error = -ENOENT};
    sf_assemble(&config, found, force, &assembly);
    assert_false(assembly.may_start || assembly.forced);
    found[1] = found_of(&c, 1);
    found[2] = found_of(&c, 2);
  }
}

/* Proves when a leg is copied whole: emptied since, or from another line of history. */
static void
test_whole_copy(void **state) {
  struct sf_superblock base = {.lineage = uuid('A', 0), .record = {.term = 3, .change = 1}};
  struct sf_superblock leg = base;
  assert_false(sf_leg_needs_whole_copy(&base, &leg));
  leg.record = (struct sf_record){.term = 1, .change = 1};
  assert_false(sf_leg_needs_whole_copy(&base, &leg));
  leg.record.change = SF_BLANK_CHANGE;
  assert_true(sf_leg_needs_whole_copy(&base, &leg));
  leg = base;
  leg.lineage = uuid('B', 0);
  assert_true(sf_leg_needs_whole_copy(&base, &leg));
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_cases),
      cmocka_unit_test(test_listed),
      cmocka_unit_test(test_listed_lines),
      cmocka_unit_test(test_every_verdict_has_a_case),
      cmocka_unit_test(test_sentence_is_bounded),
      cmocka_unit_test(test_last_term),
      cmocka_unit_test(test_whole_copy),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
