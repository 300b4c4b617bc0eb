"""Products as a share of what the machine can do, from `sail doctor`'s measurements."""

from results import Result

BYTES = {"f32": 4, "bf16": 2}


def gemm_ceiling(ceilings: dict, precision: str, rate: str = "gigaflops") -> float | None:
    """GFLOP/s of the fastest product with all threads: of its best round, or `typical_gigaflops`."""
    speeds = [
        product[rate]
        for product in ceilings["products"]
        if product["type"] == precision and product["threads"] == ceilings["threads"]
    ]
    return max(speeds, default=None)


def read_ceiling(ceilings: dict) -> float:
    """GB/s of reading memory with all threads."""
    return max(
        memory["gigabytes_per_second"]
        for memory in ceilings["memory"]
        if memory["access"] == "read" and memory["threads"] == ceilings["threads"]
    )


def kernel_results(ceilings: dict, precision: str) -> list[Result]:
    """A row a product: its speed, and its share of the smaller of two ceilings.

    A product of few rows is bound by reading its weights once: 2 · rows FLOPs a weight.
    """
    peak = gemm_ceiling(ceilings, precision)
    if peak is None:
        return []
    bandwidth = read_ceiling(ceilings)
    results = [Result("memory read", "", "GB/s", sail=[bandwidth], notes=["the memory ceiling"])]
    for product in ceilings["products"]:
        if product["type"] != precision or product["threads"] != ceilings["threads"]:
            continue
        of_memory = bandwidth * 2 * product["rows"] / BYTES[precision]
        bound = "memory" if of_memory < peak else "GEMM"
        share = product["gigaflops"] / min(of_memory, peak)
        name = f"{product['product']} {product['rows']} × {product['inner']} → {product['columns']}"
        note = f"{share:.0%} of the {bound} ceiling"
        results.append(Result(name, precision, "GFLOP/s", sail=[product["gigaflops"]], notes=[note]))
    return results
