"""What must hold: expectations of a scenario and numbered invariants, judged on the merged history of a run."""
