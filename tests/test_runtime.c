/* Tokeniser, batches and files. Real data is used where ATTNC_DATA names a folder that holds wikitext-2 and gpt2-bpe.
 */
/* cmocka needs these before it */
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on

#include "batches.h"
#include "files.h"
#include "philox.h"
#include "tokenizer.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[64];

static int make_folder(void **state) {
    (void)state;
    strcpy(folder, "/tmp/attnc-test-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    return setenv("XDG_CACHE_HOME", folder, 1);
}

static int remove_folder(void **state) {
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command);
}

static const char *path_in(const char *name) {
    static char path[2][256];
    static int turn;
    turn ^= 1;
    snprintf(path[turn], sizeof path[0], "%s/%s", folder, name);
    return path[turn];
}

static const char merges[] = "#version: 0.2\nl o\nlo w\n\xc4\xa0 low\ne r\n1 2\n";

static void round_trip(tokenizer *t, const char *text, size_t size) {
    uint32_t *ids = NULL;
    size_t count = 0, capacity = 0, at = 0;
    assert_true(tokenizer_encode(t, text, size, &ids, &count, &capacity));
    for (size_t i = 0; i < count; i++) {
        size_t length;
        const char *bytes = tokenizer_decode(t, ids[i], &length);
        assert_true(at + length <= size);
        assert_memory_equal(bytes, text + at, length);
        at += length;
    }
    assert_int_equal(at, size);
    free(ids);
}

static void encodes_by_rank(void **state) {
    (void)state;
    char error[256];
    uint32_t *ids = NULL;
    size_t count = 0, capacity = 0;
    assert_true(file_write(path_in("vocab.bpe"), merges, sizeof merges - 1));
    tokenizer *t = tokenizer_open(path_in("vocab.bpe"), 262, error, sizeof error);
    assert_non_null(t);
    const char text[] = "low lower lo 12";
    assert_true(tokenizer_encode(t, text, sizeof text - 1, &ids, &count, &capacity));
    /* low | _low er | _ lo | _ 12: ids 256 lo, 257 low, 258 _low, 259 er, 260 12; a space is byte id 220 */
    const uint32_t wanted[] = {257, 258, 259, 220, 256, 220, 260};
    assert_int_equal(count, sizeof wanted / sizeof *wanted);
    assert_memory_equal(ids, wanted, sizeof wanted);
    assert_int_equal(tokenizer_end_of_text(t), 261);
    free(ids);
    tokenizer_free(t);
    assert_null(tokenizer_open(path_in("vocab.bpe"), 300, error, sizeof error)); /* more than there are merges */
    assert_null(tokenizer_open(path_in("none.bpe"), 262, error, sizeof error));
    assert_null(tokenizer_open(path_in("vocab.bpe"), 12, error, sizeof error));
}

static void every_byte_survives(void **state) {
    (void)state;
    char error[256], text[4096];
    assert_true(file_write(path_in("vocab.bpe"), merges, sizeof merges - 1));
    tokenizer *t = tokenizer_open(path_in("vocab.bpe"), 262, error, sizeof error), *bytes = tokenizer_bytes();
    uint64_t at = 0;
    for (int trial = 0; trial < 2000; trial++) {
        size_t size = (size_t)(philox_uniform(1, 0, at++) * 80);
        for (size_t i = 0; i < size; i++) /* bytes, or letters that merge, or spaces */
            text[i] = philox_uniform(1, 1, at++) < 0.5 ? (char)(philox_uniform(1, 2, at++) * 256)
                                                       : "lowerlow 12  \n"[(int)(philox_uniform(1, 3, at++) * 14)];
        round_trip(t, text, size);
        round_trip(bytes, text, size);
    }
    memset(text, 'l', sizeof text); /* one long word */
    for (size_t i = 1; i < sizeof text; i += 2)
        text[i] = 'o';
    round_trip(t, text, sizeof text);
    tokenizer_free(t);
    tokenizer_free(bytes);
}

static void text_is_packed(void **state) {
    (void)state;
    char error[256], text[8192];
    int size = 0;
    for (int article = 0; article < 9; article++)
        size +=
            snprintf(text + size, sizeof text - (size_t)size,
                     " = Title %d = \n\n the low lower text of article %d \n = = Part = = \n more low text 12 12 12 \n",
                     article, article);
    assert_true(file_write(path_in("vocab.bpe"), merges, sizeof merges - 1));
    assert_true(file_write(path_in("text.txt"), text, (size_t)size));
    for (int round = 0; round < 2; round++) { /* the second time from the cache */
        batch_source *s = batches_of_text(path_in("text.txt"), path_in("vocab.bpe"), 262, error, sizeof error);
        assert_non_null(s);
        int32_t tokens[2][16], targets[2][16];
        float weight[16];
        assert_true(batches_get(s, SPLIT_TRAIN, 3, 0, 2, 8, tokens[0], targets[0], weight));
        assert_true(batches_get(s, SPLIT_TRAIN, 3, 0, 2, 8, tokens[1], targets[1], weight));
        assert_memory_equal(tokens[0], tokens[1], sizeof tokens[0]);
        for (int b = 0; b < 2; b++)
            for (int i = 0; i + 1 < 8; i++)
                assert_int_equal(targets[0][b * 8 + i], tokens[0][b * 8 + i + 1]);
        assert_true(batches_get(s, SPLIT_TRAIN, 4, 0, 2, 8, tokens[1], targets[1], weight));
        assert_memory_not_equal(tokens[0], tokens[1], sizeof tokens[0]);
        assert_false(batches_get(s, SPLIT_VALID, 3, 0, 2, 4000, tokens[0], targets[0], weight)); /* too short */
        batches_free(s);
    }
    assert_null(batches_of_text(path_in("none"), NULL, 262, error, sizeof error));
}

static void an_epoch_sees_all(void **state) {
    (void)state;
    char error[256], text[4096];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)('a' + i / 8 % 26);
    assert_true(file_write(path_in("vocab.bpe"), merges, sizeof merges - 1));
    assert_true(file_write(path_in("letters.txt"), text, sizeof text));
    batch_source *s = batches_of_text(path_in("letters.txt"), path_in("vocab.bpe"), 262, error, sizeof error);
    uint64_t count  = batches_count(s, SPLIT_TRAIN, 1, 16);
    int32_t tokens[16], targets[16];
    float weight[16];
    double sum[2] = {0, 0};
    assert_true(count > 20 && count < 512);
    for (int epoch = 0; epoch < 2; epoch++)
        for (uint64_t i = 0; i < count; i++) {
            assert_true(batches_get(s, SPLIT_TRAIN, 1, (uint64_t)epoch * count + i, 1, 16, tokens, targets, weight));
            for (int k = 0; k < 16; k++)
                sum[epoch] += tokens[k];
        }
    assert_true(sum[0] == sum[1]); /* the same sequences, each once */
    batches_free(s);
}

static void recall_can_be_solved(void **state) {
    (void)state;
    enum { LENGTH = 64, BATCH = 8, PAIRS = 4, VOCABULARY = 64 };
    batch_source *s = batches_of_recall(VOCABULARY, PAIRS);
    int32_t tokens[BATCH * LENGTH], targets[BATCH * LENGTH];
    float weight[BATCH * LENGTH];
    assert_true(batches_get(s, SPLIT_TRAIN, 1, 5, BATCH, LENGTH, tokens, targets, weight));
    for (int b = 0; b < BATCH; b++) {
        int questions = 0;
        for (int t = 0; t < LENGTH; t++) {
            int at = b * LENGTH + t;
            assert_in_range(tokens[at], 0, VOCABULARY - 1);
            if (weight[at] == 0)
                continue;
            questions++;
            int answer = -1;
            for (int p = 0; p < PAIRS; p++)
                if (tokens[b * LENGTH + 2 * p] == tokens[at])
                    answer = tokens[b * LENGTH + 2 * p + 1];
            assert_int_equal(answer, targets[at]);
        }
        assert_int_equal(questions, PAIRS);
    }
    assert_false(batches_get(s, SPLIT_TRAIN, 1, 5, BATCH, 8, tokens, targets, weight)); /* no room */
    batches_free(s);
}

static void wikitext(void **state) {
    (void)state;
    const char *data = getenv("ATTNC_DATA");
    char path[2][4096], error[512];
    if (!data) {
        print_message("ATTNC_DATA is not set: WikiText-2 is not read\n");
        skip();
    }
    snprintf(path[0], sizeof path[0], "%s/wikitext-2", data);
    snprintf(path[1], sizeof path[1], "%s/gpt2-bpe/vocab.bpe", data);
    batch_source *s = batches_of_text(path[0], path[1], 32000, error, sizeof error);
    assert_non_null(s);
    /* 264,634 ids, which tiktoken gives too (tests/peers/tokenizer.py) */
    assert_int_equal(batches_count(s, SPLIT_VALID, 1, 1), 264633);
    assert_int_equal(batches_count(s, SPLIT_TEST, 1, 1), 303012);
    batches_free(s);
}

static void files_are_whole(void **state) {
    (void)state;
    size_t size;
    assert_true(file_write(path_in("f"), "first", 5));
    new_file f;
    assert_true(file_begin(&f, path_in("f")));
    fputs("second, not finished", f.stream);
    file_abandon(&f);
    char *text = file_read(path_in("f"), &size);
    assert_string_equal(text, "first");
    free(text);
    assert_true(folder_make(path_in("a/b/c")));
    assert_false(folder_make(path_in("f/b")));
    assert_null(file_read(path_in("none"), &size));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(encodes_by_rank),      cmocka_unit_test(every_byte_survives),
                                       cmocka_unit_test(text_is_packed),       cmocka_unit_test(an_epoch_sees_all),
                                       cmocka_unit_test(recall_can_be_solved), cmocka_unit_test(wikitext),
                                       cmocka_unit_test(files_are_whole)};
    return cmocka_run_group_tests_name("runtime", tests, make_folder, remove_folder);
}
