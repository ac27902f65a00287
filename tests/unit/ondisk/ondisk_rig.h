/* A superblock with something in each field. */
#ifndef TEST_ONDISK_RIG_H
#define TEST_ONDISK_RIG_H

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <surefoot/ondisk.h>

#include "ondisk/crc32c.h"

void fill_uuid(struct sf_uuid *uuid, unsigned first);
void example(struct sf_superblock *sb);
void golden_page(uint8_t page[SF_PAGE_BYTES]);
uint32_t slow_crc32c(const uint8_t *bytes, size_t len);
void seal(uint8_t page[SF_PAGE_BYTES]);
int decode(const uint8_t page[SF_PAGE_BYTES], struct sf_superblock *sb);

enum copy { OLD, NEW, BLANK, DAMAGED, IMPOSSIBLE, MISPLACED, NEWER, COPIES };

#endif
