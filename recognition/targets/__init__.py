"""What a recogniser can be verified on, a module for each kind: pairs, templates, galleries, everyone with everyone."""
