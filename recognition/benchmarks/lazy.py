"""Momentum and weight decay applied to a row when it is next touched, against SGD on all rows in every step."""

from __future__ import annotations

import torch

from recognition.benchmarks.baseline import DenseHead
from recognition.benchmarks.sampling import drawn
from recognition.benchmarks.sides import LR, MARGIN, SCALE, HeadCase, dense_optimizer, streamed_head
from recognition.runtime import Runtime
from recognition.training.schedule import learning_rate

CASE = HeadCase(num_classes=2_000, sample_rate=0.1, batch=32, embedding_size=512, mode="recompute")


def lazy_difference(runtime: Runtime, steps: int, case: HeadCase = CASE) -> float:
    """|W_lazy - W_dense| / |W_dense| after `steps` steps on the same batches, samples and learning rates, float32."""
    streamed = streamed_head(case, runtime)
    dense = DenseHead(case.embedding_size, case.num_classes, case.sample_rate, runtime=runtime, s=SCALE, margin=MARGIN)
    dense.weight.data.copy_(streamed.weight)
    optimizer = dense_optimizer(dense)
    generator = torch.Generator().manual_seed(1)
    for step in range(steps):
        lr = learning_rate(step, base=LR, total_steps=steps, warmup_steps=steps // 10, schedule="polynomial")
        emb_GD = torch.randn(case.batch, case.embedding_size, generator=generator).to(runtime.device)
        labels_G = torch.randint(case.num_classes, (case.batch,), generator=generator).to(runtime.device)
        streamed.prepare(step, batch_size=case.batch)
        streamed(emb_GD.clone().requires_grad_(), labels_G, step).loss.backward()
        streamed.update(lr)
        optimizer.param_groups[0]["lr"] = lr
        classes, _ = drawn(labels_G, case.num_classes, case.sample_rate, step=step)
        used_S = torch.unique(classes[classes < case.num_classes])
        dense(emb_GD.clone().requires_grad_(), labels_G.clone(), index_S=used_S).backward()
        optimizer.step()
        optimizer.zero_grad()
    streamed.flush()
    expected = dense.weight.detach()
    return float(torch.linalg.vector_norm(streamed.weight - expected) / torch.linalg.vector_norm(expected))
