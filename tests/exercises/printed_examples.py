"""The printed examples of every statement, word by word: a new or changed example must be changed here, too."""

from __future__ import annotations

PRINTED = {
    "01.1": (
        'Example: `dense_bytes([(3,), (2, 2)], "int4")` is `4`: three values take 12 bits, so 2 bytes; four '
        "values take another 2 bytes."
    ),
    "01.2": (
        'Example: `cheapest_encoding(16, 16, 128, 4)` is `("bitmask", 544)`: dense takes 1,024 bytes, the '
        "bitmask 32 + 512 = 544, and CSR 128 × 8 + 17 × 4 = 1,092."
    ),
    "01.4": (
        "Example: `bits_per_weight(2, 128, 4, 64, 16, 4)` is `4.3125`: each row has two groups, which add 40 "
        "bits to the 512 bits of its weights."
    ),
    "01.5": (
        'Example: `pass_seconds(1e9, 16, 1, 20, 100)` is `(0.1, "memory")`: 2 GB at 20 GB/s take 0.1 s, and 2'
        " billion operations at 100 GFLOP/s only 0.02 s."
    ),
    "01.6": (
        "Example: for normally distributed weights and a budget of 90 GB, 4 bits alone do not quite fit. What does?"
    ),
    "02.1": (
        "Example: `conv_parameters(3, 64, (7, 7), 1, False)` is `9408`: 64 filters of 3 × 7 × 7 weights. A "
        "linear layer is the same with a kernel of (1, 1)."
    ),
    "02.2": (
        "Example: `conv_macs(3, 8, (3, 3), (1, 1), (1, 1), 1, (8, 8), 1)` is `13824`: the padding keeps the "
        "image at 8 × 8, so 8 × 8 × 8 numbers come out, and each costs 3 × 3 × 3 MACs."
    ),
    "02.3": (
        'Example: `attainable(1000, 4000, 1000, 1, 100.0, 20.0)` is `(0.4, 8.0, "memory")`: 2,000 operations '
        "for 5,000 bytes."
    ),
    "02.4": (
        "Example: with `runs=3, warmup=1` and the models `a` and `b` the order is a b a b a b a b. If `a` "
        "takes 9, 2, 4 and 3 ms, its result is `(3.0, 3.9)`."
    ),
    "02.5": (
        "Example: `whole_speedup([6.0, 3.0, 1.0], 0, 3.0)` is about `(1.667, 2.5)`: 10 ms become 6 ms, and "
        "could become 4 ms."
    ),
    "02.6": (
        "Example: layers of 2, 4 and 8 ms, all with factor 2, and damages of 0.2, 0.6 and 1.0. For a budget "
        "of 10.5 ms the best choice is only the largest layer."
    ),
    "03.1": (
        "Example: for `weight = [[1, -2], [-1, 3]]` and a sparsity of 0.25, one of four weights is dropped. "
        "The two smallest magnitudes are equal, so it is the first of them: `[[False, True], [True, True]]`."
    ),
    "03.2": (
        'Example: `{"a": [1, 5], "b": [2, 3]}` at a sparsity of 0.5 gives `{"a": [False, True], "b": [False, '
        "True]}`. At 0.25 only the 1 is dropped, so layer `b` keeps everything."
    ),
    "03.3": ("Example: halfway from 0 to 0.8, `cubic_sparsity(5, 10, 0.0, 0.8)` is 0.8 − 0.8 · 0.5³ = 0.7."),
    "03.4": (
        "Example: 16 fp32 values, 12 of them zero. Dense: 16 · 4 = 64 bytes. Bitmask: 2 bytes of bits and 4 ·"
        " 4 bytes of values, 18 in all. One zero saves 4 bytes and the mask costs 2, so `break_even` is 1."
    ),
    "04.1": (
        "Example: `producer = [[3, 4], [0, 5], [6, 8]]` has the norms 5, 5 and 10, with mean 20/3, so it "
        "votes 0.75, 0.75 and 1.5. `consumer = [[1, 2, 0]]` has the norms 1, 2 and 0, with mean 1, so it "
        "votes 1, 2 and 0. The scores are 0.875, 1.375 and 0.75."
    ),
    "04.2": (
        "Example: 12 channels, a ratio of 0.5 and a multiple of 4. Six lies half way between 4 and 8, so 8 "
        "channels are kept."
    ),
    "04.3": (
        "Example: with `stem=[0, 2]` and `inner=[1]`, `conv2.weight` of shape (6, 8, 3, 3) becomes (1, 2, 3, "
        "3), and `fc.weight` of shape (5, 32) becomes (5, 8), with the columns 0 to 3 and 8 to 11."
    ),
    "04.4": (
        "Example: 3 heads of size 2, `keep=[0, 2]`: rows 0, 1, 4 and 5 of `query.weight` are kept, and the "
        "same columns of `output.weight`."
    ),
    "04.5": ("Example: `[[1, -4, 2, 3, 0, 0, 0, 5]]` gives `[[False, True, False, True, True, False, False, True]]`."),
    "05.1": (
        "Example: for `[7, -3.5, 1.2]` and 4 bits the scale is 1, and the integers are `[7, -4, 1]` (−3.5 is "
        "rounded to the even neighbour)."
    ),
    "05.2": (
        "Example: `scale_and_zero_point(-1.0, 3.0, 8)` is about `(0.01569, 64)`. For the range 2 … 3, zero "
        "has to be added: the scale is 3/255 and the zero-point 0."
    ),
    "05.3": (
        "Example: the row `[7, 1, 0.7, 0.1]` with 4 bits and groups of 2 has the scales `[1, 0.1]` and the "
        "integers `[7, 1, 7, 1]`."
    ),
    "05.4": (
        "Example: values `[0, 0.2, 1]`, centroids `[0, 2]`, one round. First the codes are `[0, 0, 0]` (1 is "
        "equally near to both). The first centroid moves to 0.4, the second stays at 2. The answer is the "
        "codes `[0, 0, 0]` and the centroids `[0.4, 2]`."
    ),
    "06.1": (
        "Example: weight 2, no bias, gamma 3, beta 1, mean 4, var 0.99, eps 0.01 give the weight 6 and the bias −11."
    ),
    "06.2": (
        "Example: `x = [[5]]`, `zero_x = 2`, `weight = [[4]]`, `bias = [1]` give the sum 13. With `multiplier"
        " = 2**30` and `shift = 31`, which is one half, 6.5 is rounded to 7, and with `zero_y = 100` the "
        "answer is `[[107]]`."
    ),
    "06.3": ("Example: momentum 0.1, batches with the ranges 0 … 1 and 0 … 2. The range is 0 … 1.1."),
    "06.4": (
        "Example: for `[0, 1, 2, 3, 30]` with 2 bits and the candidates `[3.0, 30.0]`: with 3, only the 30 is"
        " wrong, by 27; with 30 the levels are 0, 10, 20, 30, and 1, 2 and 3 become 0. The squared errors are"
        " 729 and 14 in sum, so the answer is 30.0."
    ),
    "07.1": (
        "Example: with `scale = 0.5`, `qmin = -2`, `qmax = 1`, the values `[-5.0, 0.2, 0.9]` become `[-1.0, "
        "0.0, 0.5]`. Their gradients are `[0, 1, 0]`, because −10 and 1.8 steps lie outside of −2 … 1."
    ),
    "07.2": (
        "Example: `x = [0.3, 4.0]`, `scale = 1`, `qmin = -2`, `qmax = 1`, `upstream = [1.0, 2.0]`. The first "
        "lies inside and contributes 0 − 0.3, the second lies above and contributes 2 · 1. The sum is 1.7, "
        "and $1.7 / \\sqrt{2 \\cdot 1} ≈ 1.202$."
    ),
    "08.1": (
        "Example: one output with the weights `[0.8, 1.0]`, `scale` 1, `zero_point` 0, 2 bits, and $U$ = "
        "`[[2, 1], [0, 1]]`. Column 0 becomes 1. The error is (0.8 − 1) / 2 = −0.1, so the second weight "
        "becomes 1.0 + 0.1 · 1 = 1.1."
    ),
    "08.2": (
        "Example: for `rows = [[2, 0], [0, 1]]` and no damping, $H$ is `[[4, 0], [0, 1]]` and $U$ is `[[0.5, "
        "0], [0, 1]]`. For `rows = [[2, 2], [0, 0]]` and no damping there is no inverse."
    ),
    "08.4": (
        "Example: 2 × 8 weights, 4 bits, groups of 4, not symmetric. 16 codes take 8 bytes, 4 scales take 8 "
        "bytes, 4 zero-points take 2 bytes: 18 bytes, or 9 bits per weight. Groups of four are expensive."
    ),
    "08.5": (
        "Example: one channel with $\\max|x| = 100$ and $\\max|w| = 1$, $\\alpha = 0.5$: the factor is 10. "
        "Afterwards both are 10."
    ),
    "09.1": (
        "Example: for `logits = [[2, 0]]` and a temperature of 2, the exponents are 1 and 0, so the result is"
        " about `[[0.731, 0.269]]`."
    ),
    "09.2": (
        "Example: one example, student `[[0, 0]]`, teacher `[[2, 0]]`, label 0, $\\alpha = 0.5$, $T = 2$. Then"
        " $p$ is about (0.731, 0.269), $q$ is (0.5, 0.5), KL is about 0.111 and CE about 0.693. So $L$ is "
        "about 0.5 · 4 · 0.111 + 0.5 · 0.693 = 0.568."
    ),
    "09.3": (
        "Example: student `[[1, 0]]`, teacher `[[3, 0]]`. The limit is `[[-0.5, 0.5]]`: the first logit "
        "should grow, the second should fall."
    ),
    "09.4": (
        "Example: if the projected student is 0 everywhere and the teacher is 3 everywhere, the loss is 9, "
        "however much padding there is."
    ),
    "10.1": ("Example: `layer_map(3, 6)` is `(1, 3, 5)`: the second, the fourth and the sixth layer."),
    "10.2": (
        "Example: with `chosen = (1, 3, 5)`, `bert.encoder.layer.3.output.dense.weight` becomes "
        "`bert.encoder.layer.1.output.dense.weight`. Teachers may have more than ten layers."
    ),
    "10.3": (
        "Example: one sentence of one word, then padding; T = 2 and label 0. The logits are `[[0, 0]]` and "
        "for the teacher `[[2, 0]]`, so *soft* is 4 · 0.111 = 0.444 and *task* 0.693. The states of the word "
        "are `[1, 0]` and `[0, 1]`: they are orthogonal, so *cosine* is 1, whatever is at the padding. With "
        "weights (5, 2, 1) the loss is about 4.605."
    ),
    "10.4": (
        "Example: two words, one head each. The student's rows are (1, 0) and (0, 1), the teacher's (0.8, "
        "0.2) and (0.4, 0.6). The squares are 0.04, 0.04, 0.16 and 0.16, so the loss is 0.1. If the second "
        "position is padding, one pair remains, and the loss is 0.04."
    ),
    "10.5": (
        "Example: for three students and 12 inputs, the second list may be `[0.75, 0.75, 0.5]`. With $w = 1$ "
        "every stage has the same target, and with $w = 0$ the original is used in the first stage only."
    ),
    "11.1": ("Example: a 4 × 4 matrix holds 16 numbers. Rank 1 needs 8, rank 2 needs 16. So the answer is 1."),
    "11.2": (
        "Example: for a layer from 8 to 6 and rank 2 the weights have the shapes `(2, 8)` and `(6, 2)`. How "
        "you share the singular values between the two is up to you."
    ),
    "11.3": (
        "Example: singular values 4, 2, 1 have the squares 16, 4, 1, together 21. Rank 1 keeps 16/21 = 76 %, "
        "rank 2 keeps 95 %. For a share of 0.9 the answer is 2."
    ),
    "11.4": (
        "Example: 64 → 64 channels, 3×3, ranks 16 and 16, an image of 14 × 14, stride 1. Shapes `(16, 64, 1, "
        "1)`, `(16, 16, 3, 3)`, `(64, 16, 1, 1)`; 1,024 + 2,304 + 1,024 = 4,352 numbers; each is used at 196 "
        "positions: 852,992 MACs."
    ),
    "11.5": (
        "Example: for `rank` equal to the shorter side of the weight nothing is lost, and the result is "
        "`weight` itself."
    ),
    "11.6": (
        "Example: weight `[[1, 0]]`, `A = [[1, 1]]`, `B = [[2]]` and `alpha = 0.5`: r is 1, the update is 0.5"
        " · `[[2, 2]]`, and the result is `[[2, 1]]`."
    ),
    "12.1": (
        "Example: values `[0, 1, 2, 10]`, centroids `[0, 5, 10]`. The indices are `[0, 0, 0, 2]` and the "
        "means 1 and 10. Centroid 1 is empty. The values 0 and 2 lie equally far from their mean 1, and 0 "
        "comes first: the centroids are `[1, 0, 10]`."
    ),
    "12.2": (
        'Example: `canonical_codes([2, 3, 0, 1, 3])` is `{3: "0", 0: "10", 1: "110", 4: "111"}`. For `[1, 1, '
        "2]` there is no code."
    ),
    "12.3": (
        "Example: `entropy_and_length([2, 1, 1])` is `(1.5, 1.5)`, and `entropy_and_length([8, 1, 1])` is "
        "about `(0.922, 1.2)`."
    ),
    "12.4": (
        "Example: `arithmetic_encode([0, 2, 1], [2, 1, 1])`: the interval becomes $[0, 1/2)$, then $[3/8, "
        '1/2)$, then $[7/16, 15/32)$. It begins at $14/32$ and is $1/32$ wide, so the code is `"01110"`.'
    ),
    "12.5": (
        "Example: `weights = [0.9, 2.2, -1.4]`, `step = 1`, `lam = 0.1`, `bits = [9, 4, 1, 4, 9]`. For 0.9 "
        "level 1 costs 0.01 + 0.4, level 0 costs 0.81 + 0.1: level 1. For 2.2 level 2 costs 0.04 + 0.9, level"
        " 1 costs 1.44 + 0.4: level 2. For −1.4 level −1 costs 0.16 + 0.4, level 0 costs 1.96 + 0.1: level "
        "−1. With `lam = 0.5` the levels are `[0, 1, -1]`."
    ),
    "12.6": (
        "Example: `layer_bytes([5, 2, 1], [1, 2, 2], 4)`. Fixed: 8 indices of 2 bits are 2 bytes, 3 values "
        "are 12: 14 bytes. Huffman: 5 + 4 + 2 = 11 bits are 2 bytes, the table has 15 bits, 2 bytes, and with"
        " the codebook it is 16 bytes. So for a small layer the codes do not pay."
    ),
    "13.1": (
        "Example: `layers = [1, 3]`, `channels = [10, 40]`, `resolution = 100`, `times = 20`, α = 1.5, β = "
        "1.25, γ = 1.1. The work grows 2.84 times for each step, so φ is 2, for 8.04 times. Layers 2.25 and "
        "6.75 become `[3, 7]`. Channels 15.6 and 62.5 become `[16, 64]`. The resolution is 121."
    ),
    "13.2": (
        "Example: four filters have the importances 2, 6, 2 and 3. The order is 1, 3, 0, 2. For `keep = 3` "
        "the new first layer has the filters 1, 3 and 0, and the second layer reads these."
    ),
    "13.3": (
        "Example: one channel, one pixel, two batches with the values 1, 3 and 8. The mean is 4, and the "
        "variance is (9 + 1 + 16) / 3 = 8.667."
    ),
    "13.4": (
        "Example: with `limit = 5` and the candidates `((0,), 0.9, 7)`, `((1,), 0.6, 5)`, `((2,), 0.7, 3)`, "
        "`((3,), 0.8, 6)`, the order is `(2,)`, `(1,)`, `(3,)`, `(0,)`. For `count = 3` the answer is `[(2,),"
        " (1,), (3,)]`."
    ),
    "13.5": (
        "Example: accuracies `[0.90, 0.92, 0.92, 0.91, 0.90]` and latencies `[1, 3, 2, 2, 1]`. The second and"
        " the fourth are dominated by the third. The first and the last are equal, and nothing dominates "
        "them. The answer is `[0, 2, 4]`."
    ),
    "13.6": (
        "Example: `widths = [16, 32]`, `depths = [1, 2]`, `size = 7`. The blocks are `(16, 16, 7, 1)`, `(16, "
        "32, 7, 2)` and `(32, 32, 4, 1)`. If they take 1, 2 and 3 ms, `scale` is 0.5 and `offset` is 0.25, "
        "the answer is 3.25."
    ),
}
