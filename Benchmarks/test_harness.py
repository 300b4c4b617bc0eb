"""Tests of the harness's arithmetic: python3 -m unittest discover -s Benchmarks"""

import json
import random
import struct
import tempfile
import unittest
from pathlib import Path

import model_folder
from kernels import kernel_results
from programs import MeasurementError, run
from results import PeerFigures, Result, as_json, beside, markdown_file
from sail_runs import reported_speeds, step_lines
from workload import Workload, text, write_pairs

QWEN = Path(__file__).resolve().parent.parent / "Tests/Fixtures/published/Qwen1.5-0.5B/config.json"


class ModelFolderTests(unittest.TestCase):
    def test_shape_is_the_published_model(self):
        config = model_folder.read_config(QWEN, is_tiny=False)
        sizes = [model_folder.element_count(shape) for shape in model_folder.tensors(config).values()]
        self.assertEqual(sum(sizes), 463_987_712)
        self.assertEqual(model_folder.body_parameters(config), 24 * (4 * 1024 * 1024 + 3 * 1024 * 2816))

    def test_random_numbers_lie_in_two_octaves_of_both_signs(self):
        data = model_folder.random_numbers(4096, random.Random(5))
        numbers = [struct.unpack("<f", b"\0\0" + data[place : place + 2])[0] for place in range(0, len(data), 2)]
        self.assertTrue(all(2**-7 <= abs(number) < 2**-5 for number in numbers))
        self.assertLess(abs(sum(number > 0 for number in numbers) - 2048), 200)

    def test_every_merge_makes_a_token_and_none_has_a_lower_case_letter(self):
        model = model_folder.tokenizer(151_936)["model"]
        self.assertEqual(len(model["vocab"]), 151_936 - model_folder.UNUSED_IDS)
        self.assertEqual(len(model["merges"]), len(model["vocab"]) - 256)
        for left, right in model["merges"]:
            self.assertTrue((left + right).isupper() and left in model["vocab"] and left + right in model["vocab"])

    def test_a_folder_is_made_once_and_its_header_covers_its_file(self):
        config = model_folder.read_config(QWEN, is_tiny=True)
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place) / "tiny"
            model_folder.make_model_folder(config, folder)
            weights = folder / "model.safetensors"
            data = weights.read_bytes()
            length = int.from_bytes(data[:8], "little")
            header = json.loads(data[8 : 8 + length])
            self.assertEqual(header["model.norm.weight"]["data_offsets"][1], len(data) - 8 - length)
            written = weights.stat().st_mtime_ns
            model_folder.make_model_folder(config, folder)
            self.assertEqual(weights.stat().st_mtime_ns, written)


class WorkloadTests(unittest.TestCase):
    def test_model_flops_by_hand(self):
        config = model_folder.read_config(QWEN, is_tiny=False)
        body, head = 308_281_344, 151_936 * 1024
        once = 2 * body * 4 * (125 + 134 + 134) + 2 * head * 4 * 270
        self.assertEqual(Workload().training_flops(config, is_reference_cached=False), 4 * once)
        self.assertEqual(Workload().training_flops(config, is_reference_cached=True), 3 * once)

    def test_texts_have_their_length_and_no_space_at_an_end(self):
        for length in range(1, 40):
            sample = text(length, random.Random(length))
            self.assertEqual((len(sample), sample), (length, sample.strip()))

    def test_a_response_leaves_room_for_the_end_token(self):
        with tempfile.TemporaryDirectory() as place:
            lines = write_pairs(Path(place) / "pairs.jsonl", Workload()).read_text(encoding="utf-8").splitlines()
        self.assertEqual({len(json.loads(line)["chosen"]) for line in lines}, {134})


class ResultTests(unittest.TestCase):
    def test_a_ratio_says_how_many_times_better_sail_is(self):
        self.assertEqual(Result("", "", "s", sail=[2, 4, 3], peer=[12, 1, 30]).ratio, 4)
        self.assertEqual(Result("", "", "tokens/s", sail=[30], peer=[20]).ratio, 1.5)
        self.assertIsNone(Result("", "", "s", sail=[1]).ratio)

    def test_a_failing_peer_leaves_sails_figures(self):
        def fail() -> PeerFigures:
            raise MeasurementError("no memory")

        result = Result("step", "f32", "s", sail=[1])
        beside([result], fail)
        self.assertIn(
            "| 1.00 s | failed: no memory | – |", markdown_file([as_json({"started": "", "commit": ""}, [result])])
        )

    def test_a_small_product_is_held_against_the_memory(self):
        product = {"product": "forward", "type": "f32", "inner": 8, "columns": 8, "threads": 2}
        ceilings = {
            "threads": 2,
            "products": [
                {**product, "rows": 1, "gigaflops": 5},
                {**product, "rows": 100, "gigaflops": 100},
                {**product, "rows": 100, "gigaflops": 900, "threads": 1},
            ],
            "memory": [{"access": "read", "threads": 2, "gigabytes_per_second": 20}],
        }
        notes = [result.notes for result in kernel_results(ceilings, "f32")]
        self.assertEqual(notes[1:], [["50% of the memory ceiling"], ["100% of the GEMM ceiling"]])


class ProgramTests(unittest.TestCase):
    def test_a_failure_gives_the_marked_line_or_the_signal(self):
        with tempfile.TemporaryDirectory() as place:
            log = Path(place) / "log"
            with self.assertRaisesRegex(MeasurementError, "sh ended with 2: Error: wrong$"):
                run(["sh", "-c", "echo Error: wrong >&2; echo See help >&2; exit 2"], log)
            with self.assertRaisesRegex(MeasurementError, "sh was ended by SIGILL"):
                run(["sh", "-c", "kill -ILL $$"], log)

    def test_the_speed_line(self):
        said = "generate 1/1\nprompt: 64 tokens in 0.5 s (128 T/s); decode: 32 tokens in 1.6 s (20 T/s)\n"
        self.assertEqual(reported_speeds(said), {"prompt": 128, "decode": 20})
        self.assertEqual(reported_speeds("prompt: 6 tokens in 2e-1 s; decode: 0 tokens in 0 s"), {"prompt": 30})

    def test_only_whole_lines_of_steps_count(self):
        with tempfile.TemporaryDirectory() as place:
            path = Path(place) / "metrics.jsonl"
            self.assertEqual(step_lines(path), [])
            path.write_text('{"time/step": 1}\n{"eval_loss": 1}\n{"time/st', encoding="utf-8")
            self.assertEqual(len(step_lines(path)), 1)


if __name__ == "__main__":
    unittest.main()
