"""Made-up traffic: a seeded population of lawful users, their twins, and the campaigns hidden among them."""
